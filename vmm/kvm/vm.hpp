// SPDX-License-Identifier: Apache-2.0
// One KVM virtual machine: memory slots, the in-kernel interrupt controllers, and the descriptors
// that let the kernel deliver interrupts and doorbells without us.
#pragma once

#include <cstdint>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/eventfd.hpp"
#include "sys/fd.hpp"
#include "vmm/bus/doorbell.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace holdfast::kvm {

/// Any thread, once created. The order of creation matters to KVM: interrupt controllers first, then
/// vCPUs in the order of their APIC ids; create() and create_vcpu() keep to it.
class Vm final : public bus::Doorbells {
public:
    /// `kvm` is an open /dev/kvm. Probes what we need and names what is missing.
    static Result<std::unique_ptr<Vm>> create(const UniqueFd& kvm);

    /// Makes `memory` the guest's RAM. The mapping outlives the VM.
    Result<void> map_memory(const memcrypt::GuestMemory& memory);
    /// Makes one page of ours the guest's at `start`, outside of its RAM; the guest reaches it without exits.
    /// Once a VM. The page outlives it.
    Result<void> map_device_page(GuestAddr start, std::span<std::byte> page);
    /// `index` is the APIC id; call with 0, 1, 2, ... `count` is the number there will be.
    Result<Vcpu> create_vcpu(std::uint32_t index, std::uint32_t count);

    /// An edge into I/O APIC pin `gsi` each time the line is triggered.
    Result<irq::Line> create_line(std::uint32_t gsi);
    /// Delivers one message-signalled interrupt now. One that makes no sense is delivered nowhere.
    void signal_msi(const irq::MsiMessage& message) const noexcept;

    /// The guest's kvmclock in nanoseconds; it goes on while no vCPU runs, unless it is set back then.
    [[nodiscard]] Result<std::uint64_t> clock() const;
    Result<void> set_clock(std::uint64_t nanoseconds) const;

    Result<void> attach(std::uint64_t address, const EventFd& event) override;
    void detach(std::uint64_t address, const EventFd& event) noexcept override;

private:
    Vm(UniqueFd fd, std::vector<kvm_cpuid_entry2> cpuid, std::size_t run_size) noexcept
        : fd_{std::move(fd)}, supported_cpuid_{std::move(cpuid)}, run_size_{run_size} {}
    Result<void> map_slot(std::uint32_t slot, GuestAddr start, std::span<std::byte> host);
    Result<void> doorbell(std::uint64_t address, const EventFd& event, std::uint32_t flags) const;

    UniqueFd fd_;
    std::vector<kvm_cpuid_entry2> supported_cpuid_;
    std::size_t run_size_;
    bool tsc_deadline_ = false;
};

}  // namespace holdfast::kvm
