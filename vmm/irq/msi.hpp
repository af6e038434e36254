// SPDX-License-Identifier: Apache-2.0
// Message-signalled interrupts: ours by KVM_SIGNAL_MSI, which needs no routing table, and those of devices of
// the host by irqfd, which does.
#pragma once

#include "vmm/irq/line.hpp"
#include "vmm/kvm/vm.hpp"

namespace holdfast::irq {

/// Any thread. The Vm outlives the source and its vectors.
class KvmMsiSource final : public MsiSource {
public:
    explicit KvmMsiSource(kvm::Vm& vm) noexcept : vm_{vm} {}
    Result<std::unique_ptr<MsiVector>> allocate() override;
    Result<std::unique_ptr<MsiVector>> allocate(const EventFd& event) override;

private:
    kvm::Vm& vm_;
};

}  // namespace holdfast::irq
