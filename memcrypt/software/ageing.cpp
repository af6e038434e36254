// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/ageing.hpp"

#include <algorithm>

#include "memcrypt/software/pager.hpp"

namespace holdfast::memcrypt::software {

/// Looks at the next so many clusters.
Result<void> Pager::age(Worker& worker, std::uint32_t clusters) {
    for (std::uint32_t i = 0; i < clusters; ++i) {
        std::uint32_t cluster = 0;
        {
            const Lock hold{lock_};
            cluster = next_cluster_++;
            if (next_cluster_ == clusters_.size()) {
                next_cluster_ = 0;
                ++age_round_;
            }
        }
        HF_TRY(age_cluster(worker, cluster));
    }
    return {};
}

Result<void> Pager::age_cluster(Worker& worker, std::uint32_t cluster) {
    std::array<std::uint32_t, Cluster::kPages> touched;
    std::array<std::uint32_t, Cluster::kPages> idle;
    std::uint32_t touched_count = 0;
    std::uint32_t idle_count = 0;
    {
        const Lock hold{lock_};
        const std::uint32_t first = cluster * Cluster::kPages;
        const std::uint32_t end = std::min(first + Cluster::kPages, pages_.size());
        for (std::uint32_t page = first; page < end; ++page) {
            switch (window_.age(page)) {
                case Window::Look::Stays: break;
                case Window::Look::Unmap: touched[touched_count++] = page; break;
                case Window::Look::Seal: idle[idle_count++] = page; break;
            }
        }
        clusters_[cluster].looked(touched_count, touched_count + idle_count);
    }
    HF_TRY(unmap(std::span{touched}.first(touched_count)));
    return seal(worker, std::span{idle}.first(idle_count));
}

}  // namespace holdfast::memcrypt::software
