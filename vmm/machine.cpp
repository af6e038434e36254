// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine.hpp"

#include <array>

#include "sys/log.hpp"
#include "vmm/boot/boot.hpp"
#include "vmm/boot/layout.hpp"

namespace holdfast::vmm {

Machine::Machine(const LaunchConfig& config, memcrypt::GuestMemory memory, std::unique_ptr<kvm::Vm> vm,
                 EventFd wake, Poller poller, const UniqueFd& handover) noexcept
    : config_{config},
      handover_{handover},
      poller_{std::move(poller)},
      wake_{std::move(wake)},
      memory_{std::move(memory)},
      vm_{std::move(vm)} {}

Machine::~Machine() = default;

Result<std::unique_ptr<Machine>> Machine::create(const LaunchConfig& config, LaunchFds fds,
                                                 const UniqueFd& handover) {
    if (config.tier != memcrypt::Tier::None) return input_error("this memory tier is not built yet");
    auto vm = HF_TRY(kvm::Vm::create(fds.kvm));
    auto memory = HF_TRY(memcrypt::GuestMemory::create_plain(boot::ram_ranges(config.memory_bytes)));
    std::unique_ptr<Machine> machine{new Machine{config, std::move(memory), std::move(vm),
                                                 HF_TRY(EventFd::create()), HF_TRY(Poller::create()), handover}};
    HF_TRY(machine->build(fds));
    return machine;
}

Result<void> Machine::build(LaunchFds& fds) {
    HF_TRY(poller_.add(wake_.fd(), EPOLLIN, static_cast<std::uint64_t>(Token::Wake)));
    HF_TRY(poller_.add(handover_, EPOLLIN, static_cast<std::uint64_t>(Token::Handover)));
    HF_TRY(vm_->map_memory(memory_));
    HF_TRY(build_legacy(std::move(fds.console)));
    const auto entry = HF_TRY(boot::load(memory_, {
        .kernel = fds.kernel,
        .initrd = fds.initrd,
        .cmdline = config_.cmdline,
        .cpus = config_.cpus,
        .elf_entry = config_.flat_entry ? boot::ElfEntry::Flat : boot::ElfEntry::Pvh,
    }));
    return build_vcpus(entry);
}

Result<void> Machine::build_legacy(UniqueFd console) {
    console_ = HF_TRY(legacy::ConsoleStream::create(std::move(console), poller_,
                                                    static_cast<std::uint64_t>(Token::Console)));
    serial_line_ = HF_TRY(vm_->create_line(legacy::kSerialGsi));
    serial_.emplace(*serial_line_, *console_);
    HF_TRY(ports_.add(legacy::kSerialPort, legacy::kSerialPorts, *serial_));
    console_->attach(*serial_);

    event_line_ = HF_TRY(vm_->create_line(legacy::kEventGsi));
    power_.emplace(*event_line_, *this);
    HF_TRY(ports_.add(legacy::kPowerPort, legacy::kPowerPorts, *power_));
    keyboard_reset_.emplace(*this);
    return ports_.add(legacy::kKeyboardPort, 1, *keyboard_reset_);
}

Result<void> Machine::build_vcpus(const kvm::EntryState& entry) {
    for (std::uint32_t index = 0; index < config_.cpus; ++index) {
        kvm::Vcpu vcpu = HF_TRY(vm_->create_vcpu(index, config_.cpus));
        HF_TRY(vcpu.set_boot_msrs());
        if (index == 0) HF_TRY(vcpu.set_entry(entry));
        vcpus_.push_back(std::make_unique<VcpuThread>(index, std::move(vcpu),
                                                      VcpuThread::Buses{ports_, mmio_}, *this));
    }
    return {};
}

void Machine::resume_guest() {
    for (const auto& vcpu : vcpus_) vcpu->resume();
}

void Machine::pause_guest() {
    for (const auto& vcpu : vcpus_) vcpu->pause();
}

Ended Machine::run() {
    if (!config_.start_paused) resume_guest();
    std::array<epoll_event, 16> ready{};
    while (true) {
        {
            const Lock hold{end_lock_};
            if (ended_) break;
        }
        const auto events = poller_.wait(ready, -1);
        if (!events) {
            end(EndReason::Failure, "waiting for events failed");
            break;
        }
        for (const epoll_event& event : *events) {
            const auto served = serve(event.data.u64, event.events);
            if (!served) {
                log::error("machine.serve", served.error());
                end(EndReason::Failure, served.error().what);
            }
        }
    }
    pause_guest();
    console_->drain(std::chrono::milliseconds{200});
    const Lock hold{end_lock_};
    return std::move(*ended_);
}

Result<void> Machine::serve(std::uint64_t token, std::uint32_t events) {
    switch (static_cast<Token>(token)) {
        case Token::Wake: wake_.drain(); return {};
        case Token::Handover:
            // Whoever launched us is gone or wants us gone; there is nobody left to report to.
            end(EndReason::Killed, "the command line has gone");
            return {};
        case Token::Console:
            if (const auto served = console_->on_ready(events); !served) {
                end(EndReason::Failure, "holdfast-io ended unexpectedly");
            }
            return {};
    }
    return {};
}

void Machine::end(EndReason reason, std::string detail) noexcept {
    {
        const Lock hold{end_lock_};
        if (ended_) return;
        ended_ = Ended{.reason = reason, .detail = std::move(detail), .control_session = {}};
    }
    wake_.signal();
}

void Machine::power_off_requested() noexcept { end(EndReason::PowerOff, "the guest powered off"); }
void Machine::reset_requested() noexcept { end(EndReason::Reboot, "the guest rebooted"); }
void Machine::guest_shut_down() noexcept { end(EndReason::Reboot, "the guest reset itself by a triple fault"); }

void Machine::guest_stuck(std::string_view reason, std::uint64_t detail, std::uint64_t rip) noexcept {
    log::error("vcpu.stuck", {{"why", reason}, {"detail", detail}, log::Field::hex("rip", rip)});
    end(EndReason::Failure, std::string{reason});
}

}  // namespace holdfast::vmm
