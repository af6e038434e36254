// SPDX-License-Identifier: Apache-2.0
// Message-signalled interrupts by KVM_SIGNAL_MSI: no routing table to keep, no limit on vectors.
#pragma once

#include "sys/thread.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/kvm/vm.hpp"

namespace holdfast::irq {

/// Any thread. The Vm outlives the source and its vectors.
class KvmMsiSource final : public MsiSource {
public:
    explicit KvmMsiSource(const kvm::Vm& vm) noexcept : vm_{vm} {}
    Result<std::unique_ptr<MsiVector>> allocate() override;

private:
    const kvm::Vm& vm_;
};

}  // namespace holdfast::irq
