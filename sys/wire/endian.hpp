// SPDX-License-Identifier: Apache-2.0
// Integers of a fixed byte order and alignment 1, to build wire structs that have no padding and no
// misaligned members by construction.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>

namespace holdfast {

template <std::unsigned_integral T, std::endian Order>
class Ordered {
public:
    constexpr Ordered() noexcept = default;
    // NOLINTNEXTLINE(google-explicit-constructor): designated initialisers of wire structs need it.
    constexpr Ordered(T value) noexcept : bytes_{std::bit_cast<Bytes>(swap(value))} {}
    [[nodiscard]] constexpr T get() const noexcept { return swap(std::bit_cast<T>(bytes_)); }
    friend constexpr bool operator==(const Ordered&, const Ordered&) noexcept = default;

private:
    using Bytes = std::array<std::byte, sizeof(T)>;
    static constexpr T swap(T value) noexcept {
        if constexpr (Order == std::endian::native || sizeof(T) == 1) {
            return value;
        } else if constexpr (sizeof(T) == 2) {
            return __builtin_bswap16(value);
        } else if constexpr (sizeof(T) == 4) {
            return __builtin_bswap32(value);
        } else {
            return __builtin_bswap64(value);
        }
    }
    Bytes bytes_{};
};

template <std::unsigned_integral T>
using Le = Ordered<T, std::endian::little>;
template <std::unsigned_integral T>
using Be = Ordered<T, std::endian::big>;

static_assert(sizeof(Le<unsigned long>) == 8 && alignof(Le<unsigned long>) == 1);
static_assert(Be<unsigned short>{0x1234}.get() == 0x1234);

}  // namespace holdfast
