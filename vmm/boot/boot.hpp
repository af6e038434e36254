// SPDX-License-Identifier: Apache-2.0
// Everything the guest finds in memory at its first instruction, put there in one fixed order.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sys/fd.hpp"
#include "vmm/boot/acpi.hpp"
#include "vmm/boot/kernel.hpp"
#include "vmm/boot/loader.hpp"
#include "vmm/kvm/entry.hpp"

namespace holdfast::boot {

struct Inputs {
    const UniqueFd& kernel;
    const UniqueFd& initrd;  ///< may be empty
    std::string_view cmdline;
    std::string_view shape;  ///< at most a page: what the guest can see of the machine (vmm/guest_load.hpp)
    std::uint32_t cpus = 1;
    ElfEntry elf_entry = ElfEntry::Pvh;
    std::span<const std::byte> event_log;  ///< of the TPM; empty: there is no TPM
    std::optional<Viot> viot;              ///< none: no device of the host is in the machine
};

/// Loads kernel, initrd, command line, shape, ACPI tables and boot parameters.
Result<kvm::EntryState> load(Loader& loader, const Inputs& inputs);

}  // namespace holdfast::boot
