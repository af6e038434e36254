// SPDX-License-Identifier: Apache-2.0
// The words of this module: device addresses, what a device may do with a page, and one grant.
#pragma once

#include <compare>
#include <cstdint>

#include "memcrypt/address.hpp"

namespace holdfast::iommu {

/// An address as a device sends it. Distinct from guest-physical addresses and from numbers.
class Iova {
public:
    constexpr Iova() noexcept = default;
    constexpr explicit Iova(std::uint64_t value) noexcept : value_{value} {}
    [[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }
    friend constexpr auto operator<=>(Iova, Iova) noexcept = default;

private:
    std::uint64_t value_ = 0;
};

/// What a device may do. There is no write-only: IOMMUs let a device read what it may write (measured with
/// Linux 6.1 and VT-d), so whoever grants writing grants both and is told so.
enum class Access : std::uint8_t { Read, ReadWrite };

/// One grant: `size` bytes from `start` on are guest memory from `target` on. The unit of unmapping. Bounds
/// are inclusive (`last`), because a range may end with the address space.
struct Mapping {
    Iova start;
    std::uint64_t size = 0;
    GuestAddr target;
    std::uint64_t granted_at = 0;  ///< milliseconds since 1970
    std::uint32_t rule = 0;        ///< which rule of the policy allowed it
    Access access = Access::Read;

    [[nodiscard]] constexpr Iova last() const noexcept { return Iova{start.value() + (size - 1)}; }
    friend bool operator==(const Mapping&, const Mapping&) noexcept = default;
};

/// Device addresses from first to last, both included.
struct IovaRange {
    Iova first;
    Iova last;
    [[nodiscard]] constexpr bool contains(IovaRange inner) const noexcept {
        return first <= inner.first && inner.last <= last;
    }
    [[nodiscard]] constexpr bool touches(IovaRange other) const noexcept {
        return first <= other.last && other.first <= last;
    }
    friend bool operator==(const IovaRange&, const IovaRange&) noexcept = default;
};

}  // namespace holdfast::iommu
