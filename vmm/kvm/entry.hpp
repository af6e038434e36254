// SPDX-License-Identifier: Apache-2.0
// The state in which the boot CPU enters what was loaded, and the descriptor table it needs.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "memcrypt/address.hpp"

namespace holdfast::kvm {

struct EntryState {
    enum class Mode : std::uint8_t {
        Long64,       ///< 64-bit, paging on by tables at `page_table` (Linux 64-bit boot protocol)
        Protected32,  ///< 32-bit, paging off (PVH)
    };
    Mode mode = Mode::Long64;
    GuestAddr instruction;
    GuestAddr argument;    ///< RSI (Long64) or EBX (Protected32)
    GuestAddr gdt;         ///< where boot_gdt(mode) was written
    GuestAddr page_table;  ///< Long64 only
};

// Both protocols want code at 0x10, data at 0x18 (Linux x86 boot protocol, "64-bit boot protocol").
inline constexpr std::uint16_t kBootCodeSelector = 0x10;
inline constexpr std::uint16_t kBootDataSelector = 0x18;
inline constexpr std::uint16_t kBootTssSelector = 0x20;

/// Flat 4 GiB segments: null, unused, code, data, TSS. L marks 64-bit code, D/B 32-bit.
[[nodiscard]] constexpr std::array<std::uint64_t, 5> boot_gdt(EntryState::Mode mode) noexcept {
    const std::uint64_t code = mode == EntryState::Mode::Long64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff;
    return {0, 0, code, 0x00cf93000000ffff, 0x00008b0000000067};
}

}  // namespace holdfast::kvm
