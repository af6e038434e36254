// SPDX-License-Identifier: Apache-2.0
// Whether pages that lie beside a touched one, and were sealed when it was, are likely to be touched too:
// after a pause the guest comes back to a whole working set, in no order that a stream would see. Nobody can
// tell whether a page that is mapped was used. So one neighbour is left closed each time, on purpose, and
// counts: touched before it would have left again, opening it would have been right.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace holdfast::memcrypt::software {

/// Not thread-safe. A `step` counts evictions and goes round (Window::step()).
class Neighbours {
public:
    static constexpr std::uint32_t kPages = 16;  ///< a cluster, aligned
    explicit Neighbours(std::uint32_t pages) : watched_((pages + kPages - 1) / kPages) {}

    /// A sealed page was touched.
    void on_fault(std::uint32_t page, std::uint8_t step) noexcept {
        Watched& of = watched_[page / kPages];
        if (!is_watched(page)) return;
        of.place = 0;
        if (static_cast<std::uint8_t>(step - of.since) <= kLifetime) add(kGain);
    }
    /// Whether to open neighbours: at least one in three that were left closed was touched.
    [[nodiscard]] bool are_useful() const noexcept { return credit_ >= 0; }
    /// Leaves this page closed to see. Another of its cluster may be watched already: that goes on then.
    void watch(std::uint32_t page, std::uint8_t step) noexcept {
        Watched& of = watched_[page / kPages];
        if (of.place != 0 && static_cast<std::uint8_t>(step - of.since) <= kLifetime) return;
        of = {.place = static_cast<std::uint8_t>(page % kPages + 1), .since = step};
        add(-1);
    }
    [[nodiscard]] bool is_watched(std::uint32_t page) const noexcept {
        return watched_[page / kPages].place == page % kPages + 1;
    }

private:
    static constexpr int kGain = 3;
    static constexpr int kMostCredit = 64;
    /// Of a page opened in vain, in steps: probation and grace.
    static constexpr std::uint8_t kLifetime = 2;
    struct Watched {
        std::uint8_t place = 0;  ///< in the cluster, from 1 on; 0: none
        std::uint8_t since = 0;
    };
    void add(int credit) noexcept { credit_ = std::clamp(credit_ + credit, -kMostCredit, kMostCredit); }

    std::vector<Watched> watched_;
    int credit_ = 0;
};

}  // namespace holdfast::memcrypt::software
