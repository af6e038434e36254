// SPDX-License-Identifier: Apache-2.0
// What a launch puts into a guest's memory and vCPUs, and the digest over it. The VMM launches by this, and
// `holdfast measure` predicts by it: one code, so they cannot differ.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"
#include "vmm/kvm/entry.hpp"
#include "vmm/launch.hpp"
#include "vtpm/eventlog/event_log.hpp"

namespace holdfast::vmm {

struct LoadedGuest {
    kvm::EntryState entry;
    std::optional<Digest384> launch_digest;  ///< none in tier `none`, which promises nothing about memory
    std::vector<eventlog::Event> measured;   ///< for the vTPM, in order; empty if the VM has none
};

/// The PCI device number of the IOMMU if the VM has devices of the host; these follow it.
[[nodiscard]] std::uint8_t iommu_slot(const LaunchConfig& config);

/// Loads into fresh memory. Uses nothing of `config` that its launch digest should not cover.
Result<LoadedGuest> load_guest(const memcrypt::GuestMemory& memory, const LaunchConfig& config,
                               const UniqueFd& kernel, const UniqueFd& initrd);

/// What the guest can see of the machine, as text that is loaded with it and so part of the digest: one line
/// each for memory, CPUs, console, every device in the order of its PCI slots, and the bundle. Not in it:
/// what tells one VM from another of the same shape (MAC address, CID, sizes of disks).
[[nodiscard]] std::string shape_text(const LaunchConfig& config);

}  // namespace holdfast::vmm
