// SPDX-License-Identifier: Apache-2.0
// The vCPUs' first state as pages of the launch digest.
#pragma once

#include <cstdint>

#include "memcrypt/launch_digest.hpp"
#include "memcrypt/snp/vmsa.hpp"
#include "vmm/kvm/entry.hpp"

namespace holdfast::boot {

/// The boot CPU, from the registers that KVM is given.
[[nodiscard]] memcrypt::snp::wire::Vmsa boot_cpu_state(const kvm::EntryState& entry) noexcept;
/// A CPU that waits for the guest's start-up interrupt: after reset. RDX, the signature of the host's CPU, is
/// zero here, or the digest could not be known before the host is.
[[nodiscard]] memcrypt::snp::wire::Vmsa waiting_cpu_state() noexcept;

/// One page a vCPU, the boot CPU's first.
void measure_vcpus(memcrypt::LaunchDigest& digest, const kvm::EntryState& entry, std::uint32_t cpus) noexcept;

}  // namespace holdfast::boot
