// SPDX-License-Identifier: Apache-2.0
#include "iommu/node_pool.hpp"

#include <new>
#include <utility>

namespace holdfast::iommu {
namespace {
constexpr std::size_t kFirstChunk = 64 << 10;  ///< most domains never need a second
}  // namespace

void* NodePool::take() {
    ++taken_;
    if (free_ != nullptr) return std::exchange(free_, free_->next);
    if (fresh_.size() < node_bytes_) {
        auto chunk = chunks_.empty() ? holdfast::Mapping::anonymous(kFirstChunk)
                                     : holdfast::Mapping::huge(holdfast::Mapping::kHugePage);
        check(chunk.has_value(), "memory for IOMMU mappings");
        fresh_ = chunk->bytes();
        chunks_.push_back(std::move(*chunk));
    }
    void* const node = fresh_.data();
    fresh_ = fresh_.subspan(node_bytes_);
    return node;
}

void NodePool::give_back(void* node) noexcept {
    --taken_;
    free_ = new (node) Free{free_};
}

}  // namespace holdfast::iommu
