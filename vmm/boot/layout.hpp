// SPDX-License-Identifier: Apache-2.0
// The guest-physical address map: what the VMM puts where before the first instruction.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "memcrypt/guest_memory.hpp"

namespace holdfast::boot {

// Below 1 MiB: small structures for the entry, in pages no protocol claims.
inline constexpr GuestAddr kGdt{0x5000};
inline constexpr GuestAddr kStartInfo{0x6000};   ///< PVH hvm_start_info, module list and memory map
inline constexpr GuestAddr kZeroPage{0x7000};    ///< Linux boot_params
inline constexpr GuestAddr kShape{0x8000};       ///< what the machine is made of, as text
inline constexpr GuestAddr kPageTables{0x9000};  ///< PML4, PDPT and four page directories
inline constexpr GuestAddr kCmdline{0x20000};
inline constexpr GuestAddr kLowRamEnd{0x9fc00};  ///< the traditional end of conventional memory
inline constexpr GuestAddr kEventLog{0xd0000};   ///< of the TPM; 0x9fc00-0x100000 is reserved
inline constexpr std::uint32_t kEventLogSize = 0x10000;
inline constexpr GuestAddr kAcpiTables{0xe0000};  ///< inside 0x9fc00-0x100000, which is reserved
inline constexpr std::uint64_t kAcpiRoom = 0x1f000;
inline constexpr GuestAddr kResetVector{0xffff0};  ///< F000:FFF0, where a PC's firmware starts
inline constexpr GuestAddr kHighMemory{0x100000};  ///< kernels are loaded from here on

// RAM stops at 3 GiB and goes on at 4 GiB; between them are the devices.
inline constexpr std::uint64_t kHoleStart = 0xc0000000;
inline constexpr std::uint64_t kHoleEnd = 0x100000000;
inline constexpr std::uint64_t kIoApic = 0xfec00000;
inline constexpr std::uint64_t kLocalApic = 0xfee00000;

/// Where the RAM of a VM of this size lies: one range, or two around the hole.
[[nodiscard]] inline std::vector<memcrypt::GuestMemory::Range> ram_ranges(std::uint64_t total) {
    std::vector<memcrypt::GuestMemory::Range> ranges{{GuestAddr{0}, std::min(total, kHoleStart)}};
    if (total > kHoleStart) ranges.push_back({GuestAddr{kHoleEnd}, total - kHoleStart});
    return ranges;
}

/// ACPI 6.5 table 15.1, "address range types".
enum class MemoryType : std::uint32_t { Ram = 1, Reserved = 2 };
struct MemoryRange {
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    MemoryType type = MemoryType::Ram;
};
/// What the guest is told of its physical memory (e820, PVH memory map), ascending.
[[nodiscard]] std::vector<MemoryRange> memory_map(const memcrypt::GuestMemory& memory);

}  // namespace holdfast::boot
