// SPDX-License-Identifier: Apache-2.0
// Guest-physical addresses and page sizes.
#pragma once

#include <compare>
#include <cstdint>

#include "sys/result.hpp"

namespace holdfast {

inline constexpr std::uint64_t kPageSize = 4096;

/// A guest-physical address (GPA). Distinct from numbers and from host pointers; its arithmetic is
/// checked, because most of them come from a guest.
class GuestAddr {
public:
    constexpr GuestAddr() noexcept = default;
    constexpr explicit GuestAddr(std::uint64_t value) noexcept : value_{value} {}
    [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
    /// This address moved up by `bytes`; wrapping around is a guest fault.
    [[nodiscard]] constexpr Result<GuestAddr> plus(std::uint64_t bytes) const noexcept {
        std::uint64_t sum = 0;
        if (__builtin_add_overflow(value_, bytes, &sum)) return guest_fault("address wraps around");
        return GuestAddr{sum};
    }
    friend constexpr auto operator<=>(GuestAddr, GuestAddr) noexcept = default;

private:
    std::uint64_t value_ = 0;
};

}  // namespace holdfast
