// SPDX-License-Identifier: Apache-2.0
// One KVM virtual machine: memory slots, the in-kernel interrupt controllers, and the descriptors
// that let the kernel deliver interrupts and doorbells without us.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/eventfd.hpp"
#include "sys/fd.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/doorbell.hpp"
#include "vmm/bus/slots.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace holdfast::kvm {

/// Any thread, once created. The order of creation matters to KVM: interrupt controllers first, then
/// vCPUs in the order of their APIC ids; create() and create_vcpu() keep to it.
class Vm final : public bus::Doorbells, public bus::Slots, public irq::LineSource {
public:
    /// `kvm` is an open /dev/kvm. Probes what we need and names what is missing.
    static Result<std::unique_ptr<Vm>> create(const UniqueFd& kvm);
    ~Vm() override;

    /// Makes `memory` the guest's RAM. The mapping outlives the VM.
    Result<void> map_memory(const memcrypt::GuestMemory& memory);
    /// `index` is the APIC id; call with 0, 1, 2, ... `count` is the number there will be.
    Result<Vcpu> create_vcpu(std::uint32_t index, std::uint32_t count);

    /// An edge into I/O APIC pin `gsi` each time the line is triggered.
    Result<irq::Line> create_line(std::uint32_t gsi);
    Result<irq::LevelLine> create_level_line(std::uint32_t gsi) override;
    /// Delivers one message-signalled interrupt now. One that makes no sense is delivered nowhere.
    void signal_msi(const irq::MsiMessage& message) const noexcept;
    /// A number for route_msi() and connect(), which nobody else has.
    Result<std::uint32_t> allocate_gsi() HF_EXCLUDES(routes_lock_);
    /// What is delivered for `gsi` from now on. Slow: KVM waits until nobody uses the old routes.
    Result<void> route_msi(std::uint32_t gsi, const irq::MsiMessage& message) HF_EXCLUDES(routes_lock_);
    /// KVM delivers `gsi` at each signal of `event`, and at once if it is signalled already.
    Result<void> connect(std::uint32_t gsi, const EventFd& event) const;
    Result<void> disconnect(std::uint32_t gsi, const EventFd& event) const;

    /// The guest's kvmclock in nanoseconds; it goes on while no vCPU runs, unless it is set back then.
    [[nodiscard]] Result<std::uint64_t> clock() const;
    Result<void> set_clock(std::uint64_t nanoseconds) const;

    Result<void> attach(std::uint64_t address, const EventFd& event) override;
    void detach(std::uint64_t address, const EventFd& event) noexcept override;
    Result<void> map(std::uint64_t address, std::span<std::byte> pages) override HF_EXCLUDES(slots_lock_);
    void unmap(std::uint64_t address) noexcept override HF_EXCLUDES(slots_lock_);

private:
    struct Routes;
    Vm(UniqueFd fd, std::vector<kvm_cpuid_entry2> cpuid, std::size_t run_size);
    /// An empty `host` takes the slot away.
    Result<void> map_slot(std::uint32_t slot, GuestAddr start, std::span<std::byte> host) const;
    Result<void> irqfd(std::uint32_t gsi, const EventFd& event, std::uint32_t flags,
                       const EventFd* ended = nullptr) const;
    Result<void> doorbell(std::uint64_t address, const EventFd& event, std::uint32_t flags) const;

    UniqueFd fd_;
    std::vector<kvm_cpuid_entry2> supported_cpuid_;
    std::size_t run_size_;
    bool tsc_deadline_ = false;
    Mutex routes_lock_;
    const std::unique_ptr<Routes> routes_ HF_GUARDED_BY(routes_lock_);
    Mutex slots_lock_;
    std::vector<std::optional<std::uint64_t>> slots_ HF_GUARDED_BY(slots_lock_);  ///< where each is in use
};

}  // namespace holdfast::kvm
