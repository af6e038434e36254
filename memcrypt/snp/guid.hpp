// SPDX-License-Identifier: Apache-2.0
// GUIDs as firmware stores them (UEFI 2.10, appendix A): the first three groups little-endian.
#pragma once

#include <array>
#include <cstdint>

#include "sys/wire/endian.hpp"

namespace holdfast::memcrypt::snp {

struct Guid {
    Le<std::uint32_t> a;
    Le<std::uint16_t> b;
    Le<std::uint16_t> c;
    std::array<std::uint8_t, 8> d{};
    friend constexpr bool operator==(const Guid&, const Guid&) noexcept = default;
};
static_assert(sizeof(Guid) == 16 && alignof(Guid) == 1);

}  // namespace holdfast::memcrypt::snp
