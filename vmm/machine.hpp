// SPDX-License-Identifier: Apache-2.0
// One virtual machine, wired together. This is the parts list; nothing else knows all parts.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "sys/eventfd.hpp"
#include "sys/poller.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/bus.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/kvm/vm.hpp"
#include "vmm/launch.hpp"
#include "vmm/legacy/console_stream.hpp"
#include "vmm/legacy/power.hpp"
#include "vmm/legacy/serial.hpp"
#include "vmm/vcpu_thread.hpp"

namespace holdfast::vmm {

/// Made, run and destroyed on the main thread. Members are in the order in which they need each other.
class Machine final : public VcpuEvents, public legacy::PowerRequests {
public:
    /// Builds the machine and loads the guest. `handover` is the socket to whoever launched us.
    static Result<std::unique_ptr<Machine>> create(const LaunchConfig& config, LaunchFds fds,
                                                   const UniqueFd& handover);
    ~Machine() override;

    /// Runs the guest until it ends, one way or another.
    Ended run();

private:
    enum class Token : std::uint64_t { Wake, Handover, Console };

    Machine(const LaunchConfig& config, memcrypt::GuestMemory memory, std::unique_ptr<kvm::Vm> vm,
            EventFd wake, Poller poller, const UniqueFd& handover) noexcept;
    Result<void> build(LaunchFds& fds);
    Result<void> build_legacy(UniqueFd console);
    Result<void> build_vcpus(const kvm::EntryState& entry);

    void resume_guest();
    void pause_guest();
    Result<void> serve(std::uint64_t token, std::uint32_t events);

    // What ends the VM, from any thread: the first reason wins.
    void end(EndReason reason, std::string detail) noexcept;
    void power_off_requested() noexcept override;
    void reset_requested() noexcept override;
    void guest_shut_down() noexcept override;
    void guest_stuck(std::string_view reason, std::uint64_t detail, std::uint64_t rip) noexcept override;

    const LaunchConfig& config_;
    const UniqueFd& handover_;
    Poller poller_;
    EventFd wake_;
    Mutex end_lock_;
    std::optional<Ended> ended_ HF_GUARDED_BY(end_lock_);

    memcrypt::GuestMemory memory_;
    std::unique_ptr<kvm::Vm> vm_;
    bus::Bus ports_;
    bus::Bus mmio_;

    std::unique_ptr<legacy::ConsoleStream> console_;
    std::optional<irq::Line> serial_line_;
    std::optional<legacy::Serial> serial_;
    std::optional<irq::Line> event_line_;
    std::optional<legacy::Power> power_;
    std::optional<legacy::KeyboardReset> keyboard_reset_;

    std::vector<std::unique_ptr<VcpuThread>> vcpus_;  // last: they use everything above
};

}  // namespace holdfast::vmm
