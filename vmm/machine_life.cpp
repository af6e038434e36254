// SPDX-License-Identifier: Apache-2.0
// The machine's main loop, what the control socket asks of it, and every way in which it ends.
#include <array>
#include <cstdio>

#include "sys/log.hpp"
#include "vmm/machine.hpp"

namespace holdfast::vmm {

using control::Cause;
using control::EventKind;
using control::RunState;

Ended Machine::run() {
    if (!config_.start_paused) start_guest();
    std::array<epoll_event, 16> ready{};
    while (!has_ended()) {
        const auto events = poller_.wait(ready, -1);
        if (!events) {
            log::error("machine.wait", events.error());
            end(EndReason::Failure, "waiting for events failed");
            break;
        }
        for (const epoll_event& event : *events) serve(event.data.u64, event.events);
    }
    // The device thread is left alone: when the I/O process is gone, it could never become idle.
    if (!memory_lost_) {
        for (const auto& vcpu : vcpus_) vcpu->pause();
    }
    // Before their memory goes.
    if (devices_) devices_->shut_down();
    report_device_events();
    memory_.wipe();
    // The I/O process of a guest that lived for a moment may still be closing its jail: seconds on a busy
    // host.
    constexpr std::chrono::milliseconds kLastOutput{3000};
    if (!console_->drain(kLastOutput)) log::warn("console.lost");
    const Lock hold{end_lock_};
    announce(*ended_);
    if (ended_->reason == EndReason::Reboot) {
        ended_->control_session = control_->release_session();
    } else {
        constexpr std::chrono::milliseconds kLastWords{200};
        control_->drain(kLastWords);
    }
    return std::move(*ended_);
}

void Machine::serve(std::uint64_t token, std::uint32_t events) {
    switch (static_cast<Token>(token)) {
        case Token::Wake:
            wake_.drain();
            report_device_events();
            break;
        case Token::Handover:
            // Whoever launched us has closed its end: it is gone, or wants us gone.
            end(EndReason::Killed, "the command line has gone");
            break;
        case Token::Console:
            if (!console_->on_ready(events)) end(EndReason::Failure, "holdfast-io ended unexpectedly");
            break;
        case Token::ControlListener:
        case Token::ControlSession: control_->on_ready(token); break;
    }
}

void Machine::start_guest() {
    if (const auto paused_at = std::exchange(paused_at_, std::nullopt)) {
        if (const auto set = vm_->set_clock(*paused_at); !set) log::warn("machine.clock", set.error());
    }
    worker_->resume();
    for (const auto& vcpu : vcpus_) vcpu->resume();
    state_ = RunState::Running;
}

void Machine::pause_guest() {
    for (const auto& vcpu : vcpus_) vcpu->pause();
    worker_->pause();
    if (const auto sealed = memory_.seal_all(); !sealed) memory_failed(sealed.error());
    // kvmclock stands still then. A guest that reads the TSC instead sees the time jump.
    if (const auto now = vm_->clock()) paused_at_ = *now;
    state_ = RunState::Paused;
}

/// Tells the control client why nothing more will come.
void Machine::announce(const Ended& ended) {
    switch (ended.reason) {
        case EndReason::PowerOff:
            control_->emit({.kind = EventKind::Shutdown, .cause = Cause::GuestShutdown});
            break;
        case EndReason::Reboot: break;  // the next VMM says RESET
        case EndReason::Panic:
            control_->emit({.kind = EventKind::GuestPanicked,
                            .cause = Cause::GuestPanic,
                            .action = control::PanicAction::Poweroff});
            control_->emit({.kind = EventKind::Shutdown, .cause = Cause::GuestPanic});
            break;
        case EndReason::Killed:
            control_->emit({.kind = EventKind::Shutdown, .cause = Cause::HostQmpQuit});
            break;
        case EndReason::Failure:
        case EndReason::Tampered:
            control_->emit({.kind = EventKind::Shutdown, .cause = Cause::HostError});
            break;
    }
}

void Machine::end(EndReason reason, std::string detail) noexcept {
    {
        const Lock hold{end_lock_};
        if (ended_) return;
        ended_ = Ended{.reason = reason, .detail = std::move(detail), .control_session = {}};
    }
    wake_.signal();
}

bool Machine::has_ended() {
    const Lock hold{end_lock_};
    return ended_.has_value();
}

void Machine::power_off_requested() noexcept { end(EndReason::PowerOff, "the guest powered off"); }
void Machine::reset_requested() noexcept { end(EndReason::Reboot, "the guest rebooted"); }
void Machine::guest_shut_down() noexcept {
    end(EndReason::Reboot, "the guest reset itself by a triple fault");
}

void Machine::guest_stuck(std::string_view reason, std::uint64_t detail, std::uint64_t rip) noexcept {
    log::error("vcpu.stuck", {{"why", reason}, {"detail", detail}, log::Field::hex("rip", rip)});
    end(EndReason::Failure, std::string{reason});
}

void Machine::guest_panicked(pci::Pvpanic::Event event) noexcept {
    switch (event) {
        case pci::Pvpanic::Event::Panicked: end(EndReason::Panic, "the guest's kernel panicked"); break;
        case pci::Pvpanic::Event::CrashLoaded: log::warn("guest.crash_kernel"); break;
    }
}

void Machine::io_failed(const Error& error) noexcept {
    log::error("io.protocol", error);
    end(EndReason::Failure, "holdfast-io broke the protocol");
}

void Machine::memory_tampered(GuestAddr page) noexcept {
    log::error("memory.tampered", {log::Field::hex("page", page.value())});
    memory_lost_ = true;
    std::array<char, 64> words;
    std::snprintf(words.data(), words.size(), "the sealed page at %#llx is not as it was left",
                  static_cast<unsigned long long>(page.value()));
    end(EndReason::Tampered, words.data());
}

void Machine::memory_failed(const Error& error) noexcept {
    log::error("memory.failed", error);
    memory_lost_ = true;
    end(EndReason::Failure, error.what);
}

void Machine::device_failed(const Error& error) noexcept {
    log::error("device.failed", error);
    end(EndReason::Failure, error.what);
}

/// To whoever launched us, who keeps the audit log. Bounded: by what Assigned lets through a second.
void Machine::report_device_events() noexcept {
    while (devices_) {
        const auto taken = devices_->take_events();
        if (taken.events.empty()) return;
        if (const auto sent = send_device_events(handover_, taken.events, taken.left_out); !sent) {
            log::warn("device.report", sent.error());
            return;
        }
    }
}

std::vector<pid_t> Machine::cpu_threads() const {
    std::vector<pid_t> threads;
    for (const auto& vcpu : vcpus_) threads.push_back(vcpu->thread_id());
    return threads;
}

std::vector<control::BlockDevice> Machine::block_devices() const {
    const auto work = [](const virtio::BlockTally& tally) {
        return control::BlockWork{.operations = tally.operations.load(std::memory_order_relaxed),
                                  .bytes = tally.bytes.load(std::memory_order_relaxed),
                                  .nanoseconds = tally.nanoseconds.load(std::memory_order_relaxed)};
    };
    std::vector<control::BlockDevice> devices;
    for (const virtio::Block* disk : disks_) {
        const DiskShape& shape = config_.disks[devices.size()];
        devices.push_back({.name = "disk" + std::to_string(devices.size()),
                           .size_bytes = shape.size_bytes,
                           .read_only = shape.read_only,
                           .reads = work(disk->reads()),
                           .writes = work(disk->writes()),
                           .flushes = work(disk->flushes()),
                           .discards = work(disk->discards())});
    }
    return devices;
}

std::vector<control::Chardev> Machine::chardevs() const {
    return {{.label = config_.virtio_console ? "hvc0" : "serial0", .filename = "console"}};
}

Result<void> Machine::stop() {
    if (state_ != RunState::Running) return {};
    pause_guest();
    control_->emit({.kind = EventKind::Stop});
    return {};
}

Result<void> Machine::resume() {
    if (state_ == RunState::Running) return {};
    start_guest();
    control_->emit({.kind = EventKind::Resume});
    return {};
}

Result<void> Machine::press_power_button() {
    power_->press_button();
    control_->emit({.kind = EventKind::Powerdown});
    return {};
}

Result<void> Machine::reset() {
    end(EndReason::Reboot, "reset by the control socket");
    return {};
}

Result<void> Machine::quit() {
    end(EndReason::Killed, "ended by the control socket");
    return {};
}

std::optional<control::MemoryStatistics> Machine::memory_statistics() const {
    const auto statistics = memory_.statistics();
    if (!statistics) return std::nullopt;
    return control::MemoryStatistics{.tier = std::string{memcrypt::tier_name(memory_.tier())},
                                     .suite = std::string{memcrypt::suite_name(config_.software.suite)},
                                     .seal_after = config_.software.seal_after,
                                     .now = *statistics};
}

std::vector<control::DeviceGrant> Machine::device_grants(std::uint64_t iova) const {
    std::vector<control::DeviceGrant> grants;
    for (const DeviceShape& device : config_.devices) {
        control::DeviceGrant grant{.device = device.address, .rule = device.rule + 1};
        if (const auto found = devices_->find(device.address, iommu::Iova{iova}); found && *found) {
            const iommu::Mapping& mapping = **found;
            grant.mapped = true;
            grant.start = mapping.start.value();
            grant.size = mapping.size;
            grant.target = mapping.target.value();
            grant.writable = mapping.access == iommu::Access::ReadWrite;
            grant.granted_at_ms = mapping.granted_at;
        }
        grants.push_back(std::move(grant));
    }
    return grants;
}

Result<void> Machine::seal_memory() { return memory_.seal_all(); }

}  // namespace holdfast::vmm
