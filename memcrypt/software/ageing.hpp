// SPDX-License-Identifier: Apache-2.0
// Ageing: pages not in use are sealed even where the window has room. Each page is looked at twice in
// `seal_after`: unmapped at one look and not touched until the next, it goes. To touch an unmapped page costs
// a fault, so pages are looked at in clusters: where a cluster is used densely, one fault brings it back
// whole but for two pages, whose turn it is to be looked at alone. So a page is sealed within `seal_after` of
// its last use if its cluster is not in dense use, and within eight times that if it is.
#pragma once

#include <cstdint>

namespace holdfast::memcrypt::software {

class Cluster {
public:
    static constexpr std::uint32_t kPages = 32;

    /// A look is over: `touched` of `clear` pages were in use since the one before.
    void looked(std::uint32_t touched, std::uint32_t clear) noexcept {
        dense_ = clear >= kFewest && touched * 4 >= clear * 3;
        faults_ = 0;
    }
    /// A page that a look had unmapped was touched. True: the others are likely to be, too.
    [[nodiscard]] bool note_fault() noexcept { return ++faults_ >= kProof || dense_; }
    /// Whether this page is to be looked at alone in this round.
    [[nodiscard]] static bool is_alone(std::uint32_t page, std::uint32_t round) noexcept {
        return page % (kPages / 2) == round % (kPages / 2);
    }

private:
    static constexpr std::uint32_t kFewest = 8;
    static constexpr std::uint8_t kProof = 3;
    std::uint8_t faults_ : 7 = 0;  // at most kPages between two looks
    std::uint8_t dense_ : 1 = 0;
};
static_assert(sizeof(Cluster) == 1);

}  // namespace holdfast::memcrypt::software
