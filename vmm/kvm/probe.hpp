// SPDX-License-Identifier: Apache-2.0
// What this host's KVM can do, found by running a guest of a dozen instructions: for `holdfast doctor`.
#pragma once

#include <cstdint>

#include "sys/fd.hpp"

namespace holdfast::kvm {

struct Probe {
    /// Iterations of a two-instruction loop in ring 0, a second. Hardware does hundreds of millions (some
    /// ten millions where an exit costs 0.2 ms), KVM's emulator one or two.
    std::uint64_t loops_per_second = 0;
    /// LOCK CMPXCHG16B in ring 0 works; kernels use it, and KVM's emulator lacks it.
    bool cmpxchg16b = false;

    /// Guest kernels run at full speed and find the instructions they need.
    [[nodiscard]] bool runs_kernels() const noexcept { return is_native() && cmpxchg16b; }
    [[nodiscard]] bool is_native() const noexcept { return loops_per_second > 10'000'000; }
};

/// Makes a VM with `kvm` (an open /dev/kvm), runs the guest for some ten milliseconds, and forgets it. An
/// error names what of KVM is missing. Uses SIGALRM to give up on a KVM that does not come back.
Result<Probe> probe(const UniqueFd& kvm);

/// Confidential VM types that KVM offers (KVM_CAP_VM_TYPES); none where KVM does not know the question.
struct VmTypes {
    bool sev_snp = false;
    bool tdx = false;
};
VmTypes vm_types(const UniqueFd& kvm) noexcept;

}  // namespace holdfast::kvm
