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

/// Every register in which the boot CPU's first state differs from the state after reset. One source for
/// what KVM is told and for what the launch digest says.
struct EntryRegisters {
    std::array<std::uint64_t, 5> gdt{};  ///< the descriptors behind CS, the data segments and TR
    std::uint64_t gdt_base = 0;
    std::uint16_t gdt_limit = 0;
    std::uint64_t cr0 = 0;
    std::uint64_t cr3 = 0;
    std::uint64_t cr4 = 0;
    std::uint64_t efer = 0;
    std::uint64_t rip = 0;
    std::uint64_t rflags = 0;
    std::uint64_t rbx = 0;
    std::uint64_t rsi = 0;
};

[[nodiscard]] constexpr EntryRegisters entry_registers(const EntryState& entry) noexcept {
    constexpr std::uint64_t kCr0Pe = 1ULL << 0;
    constexpr std::uint64_t kCr0Et = 1ULL << 4;
    constexpr std::uint64_t kCr0Pg = 1ULL << 31;
    constexpr std::uint64_t kCr4Pae = 1ULL << 5;
    constexpr std::uint64_t kEferLme = 1ULL << 8;
    constexpr std::uint64_t kEferLma = 1ULL << 10;
    constexpr std::uint64_t kRflagsReserved = 1ULL << 1;
    EntryRegisters out{.gdt = boot_gdt(entry.mode), .gdt_base = entry.gdt.value()};
    out.gdt_limit = static_cast<std::uint16_t>(sizeof out.gdt - 1);
    out.cr0 = kCr0Pe | kCr0Et;
    out.rip = entry.instruction.value();
    out.rflags = kRflagsReserved;
    switch (entry.mode) {
        case EntryState::Mode::Long64:
            out.cr0 |= kCr0Pg;
            out.cr3 = entry.page_table.value();
            out.cr4 = kCr4Pae;
            out.efer = kEferLme | kEferLma;
            out.rsi = entry.argument.value();
            break;
        case EntryState::Mode::Protected32: out.rbx = entry.argument.value(); break;
    }
    return out;
}

}  // namespace holdfast::kvm
