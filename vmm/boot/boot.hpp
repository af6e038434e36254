// SPDX-License-Identifier: Apache-2.0
// Everything the guest finds in memory at its first instruction, put there in one fixed order.
#pragma once

#include <cstdint>
#include <string_view>

#include "memcrypt/guest_memory.hpp"
#include "sys/fd.hpp"
#include "vmm/boot/kernel.hpp"
#include "vmm/kvm/entry.hpp"

namespace holdfast::boot {

struct Inputs {
    const UniqueFd& kernel;
    const UniqueFd& initrd;  ///< may be empty
    std::string_view cmdline;
    std::uint32_t cpus = 1;
    ElfEntry elf_entry = ElfEntry::Pvh;
};

/// Loads kernel, initrd, command line, ACPI tables and boot parameters into fresh (zeroed) memory.
Result<kvm::EntryState> load(const memcrypt::GuestMemory& memory, const Inputs& inputs);

}  // namespace holdfast::boot
