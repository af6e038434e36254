// SPDX-License-Identifier: Apache-2.0
// The CPUID leaves one vCPU shows: what KVM supports, made true for this VM's topology.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/kvm/uapi.hpp"

namespace holdfast::kvm {

struct CpuShape {
    std::uint32_t apic_id = 0;
    std::uint32_t cpus = 1;     ///< one socket, one thread a core
    bool tsc_deadline = false;  ///< KVM_CAP_TSC_DEADLINE_TIMER
    std::uint32_t tsc_khz = 0;  ///< 0: unknown
};

/// Changes `entries` (as KVM_GET_SUPPORTED_CPUID gave them) in place.
void shape_cpuid(std::span<kvm_cpuid_entry2> entries, const CpuShape& shape) noexcept;

}  // namespace holdfast::kvm
