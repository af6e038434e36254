// SPDX-License-Identifier: Apache-2.0
// One virtual machine: machine.cpp wires its parts together, machine_life.cpp runs and ends it.
// Nothing else knows all parts.
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
#include "vmm/control/machine.hpp"
#include "vmm/control/server.hpp"
#include "vmm/io/client.hpp"
#include "vmm/irq/msi.hpp"
#include "vmm/kvm/vm.hpp"
#include "vmm/launch.hpp"
#include "vmm/legacy/console_stream.hpp"
#include "vmm/legacy/power.hpp"
#include "vmm/legacy/serial.hpp"
#include "vmm/pci/pvpanic.hpp"
#include "vmm/pci/root_complex.hpp"
#include "vmm/tpm/tpm.hpp"
#include "vmm/vcpu_thread.hpp"
#include "vmm/vfio/assigned.hpp"
#include "vmm/virtio/block.hpp"
#include "vmm/virtio/pci_transport.hpp"
#include "vmm/virtio/worker.hpp"

namespace holdfast::vmm {

/// Made and run on the main thread, and left by _exit(): nothing has to be put back, and a vCPU may wait for
/// a page that will never come. Members stand in the order in which they need each other.
class Machine final : public control::Machine, public VcpuEvents, public legacy::PowerRequests {
public:
    /// Builds the machine, loads the guest and starts the threads, which wait. `config` and `handover`
    /// (the socket to whoever launched us) are borrowed for the machine's life. `self` is this process'
    /// pidfd, or none.
    static Result<std::unique_ptr<Machine>> create(const LaunchConfig& config, LaunchFds fds,
                                                   const UniqueFd& handover, UniqueFd self);
    ~Machine() override;

    /// What was measured of the guest's load.
    [[nodiscard]] const Started& started() const noexcept { return started_; }

    /// Runs the guest until it ends, one way or another.
    Ended run();

private:
    enum class Token : std::uint64_t { Wake, Handover, Console, ControlListener, ControlSession };
    static constexpr std::uint64_t number(Token token) { return static_cast<std::uint64_t>(token); }

    // machine.cpp
    Machine(const LaunchConfig& config, LaunchFds fds, const UniqueFd& handover, EventFd wake, Poller poller,
            std::unique_ptr<kvm::Vm> vm, memcrypt::GuestMemory memory) noexcept;
    static Result<memcrypt::GuestMemory> create_memory(const LaunchConfig& config, const LaunchFds& fds,
                                                       UniqueFd self);
    Result<void> build();
    Result<void> build_legacy();
    Result<void> build_pci();
    Result<void> build_virtio();
    Result<void> build_devices();
    Result<void> build_tpm();
    Result<void> add_virtio(std::unique_ptr<virtio::Device> device);
    Result<void> build_vcpus(const kvm::EntryState& entry);

    // machine_life.cpp
    void start_guest();
    void pause_guest();
    void serve(std::uint64_t token, std::uint32_t events);
    void announce(const Ended& ended);

    // What ends the VM, from any thread: the first reason wins.
    void end(EndReason reason, std::string detail) noexcept;
    [[nodiscard]] bool has_ended();
    void power_off_requested() noexcept override;
    void reset_requested() noexcept override;
    void guest_shut_down() noexcept override;
    void guest_stuck(std::string_view reason, std::uint64_t detail, std::uint64_t rip) noexcept override;
    void guest_panicked(pci::Pvpanic::Event event) noexcept;
    void io_failed(const Error& error) noexcept;
    void memory_tampered(GuestAddr page) noexcept;
    void memory_failed(const Error& error) noexcept;
    void device_failed(const Error& error) noexcept;
    void report_device_events() noexcept;

    // What the control socket asks.
    std::string name() const override { return config_.name; }
    control::RunState run_state() const override { return state_; }
    std::vector<pid_t> cpu_threads() const override;
    std::vector<control::BlockDevice> block_devices() const override;
    std::vector<control::Chardev> chardevs() const override;
    Result<void> stop() override;
    Result<void> resume() override;
    Result<void> press_power_button() override;
    Result<void> reset() override;
    Result<void> quit() override;
    std::optional<control::MemoryStatistics> memory_statistics() const override;
    Result<void> seal_memory() override;
    std::vector<control::DeviceGrant> device_grants(std::uint64_t iova) const override;

    const LaunchConfig& config_;
    LaunchFds fds_;
    const UniqueFd& handover_;
    Poller poller_;
    EventFd wake_;
    Mutex end_lock_;
    std::optional<Ended> ended_ HF_GUARDED_BY(end_lock_);
    std::atomic<bool> memory_lost_{false};  ///< threads may wait for a page for ever
    control::RunState state_ = control::RunState::Prelaunch;
    std::optional<std::uint64_t> paused_at_;  ///< the guest's clock when it was paused

    std::unique_ptr<kvm::Vm> vm_;
    memcrypt::GuestMemory memory_;
    Started started_;
    bus::Bus ports_;
    bus::Bus mmio_;

    std::unique_ptr<legacy::ConsoleStream> console_;
    std::optional<irq::Line> serial_line_;
    std::optional<legacy::Serial> serial_;
    std::optional<irq::Line> event_line_;
    std::optional<legacy::Power> power_;
    std::optional<legacy::KeyboardReset> keyboard_reset_;

    irq::KvmMsiSource interrupts_;
    pci::RootComplex pci_;
    std::uint8_t next_slot_ = 1;
    std::optional<pci::Pvpanic> pvpanic_;
    std::unique_ptr<io::Client> io_;
    std::vector<std::unique_ptr<virtio::Device>> virtio_devices_;
    std::vector<const virtio::Block*> disks_;  ///< of those above
    std::vector<std::unique_ptr<virtio::PciTransport>> virtio_transports_;
    std::unique_ptr<virtio::Worker> worker_;
    std::unique_ptr<vfio::Assigned> devices_;  ///< none: the VM has no device of the host
    std::unique_ptr<tpm::Tpm> tpm_;            ///< none: the VM has no TPM

    std::unique_ptr<control::Server> control_;
    std::vector<std::unique_ptr<VcpuThread>> vcpus_;  // last: they use everything above
};

}  // namespace holdfast::vmm
