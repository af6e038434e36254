// SPDX-License-Identifier: Apache-2.0
#include "vmm/machine.hpp"

#include "memcrypt/software/pager.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/guest_load.hpp"
#include "vmm/virtio/console.hpp"
#include "vmm/virtio/net.hpp"
#include "vmm/virtio/rng.hpp"
#include "vmm/virtio/vsock.hpp"

namespace holdfast::vmm {

Machine::Machine(const LaunchConfig& config, LaunchFds fds, const UniqueFd& handover, EventFd wake,
                 Poller poller, std::unique_ptr<kvm::Vm> vm, memcrypt::GuestMemory memory) noexcept
    : config_{config},
      fds_{std::move(fds)},
      handover_{handover},
      poller_{std::move(poller)},
      wake_{std::move(wake)},
      vm_{std::move(vm)},
      memory_{std::move(memory)},
      interrupts_{*vm_},
      pci_{mmio_, {}} {}

Machine::~Machine() = default;

Result<std::unique_ptr<Machine>> Machine::create(const LaunchConfig& config, LaunchFds fds,
                                                 const UniqueFd& handover, UniqueFd self) {
    auto vm = HF_TRY(kvm::Vm::create(fds.kvm));
    auto memory = HF_TRY(create_memory(config, fds, std::move(self)));
    HF_TRY(vm->map_memory(memory));
    std::unique_ptr<Machine> machine{new Machine{config, std::move(fds), handover, HF_TRY(EventFd::create()),
                                                 HF_TRY(Poller::create()), std::move(vm), std::move(memory)}};
    HF_TRY(machine->build());
    return machine;
}

Result<memcrypt::GuestMemory> Machine::create_memory(const LaunchConfig& config, const LaunchFds& fds,
                                                     UniqueFd self) {
    const auto ranges = boot::ram_ranges(config.memory_bytes);
    switch (config.tier) {
        case memcrypt::Tier::None: return memcrypt::GuestMemory::create_plain(ranges);
        case memcrypt::Tier::Software:
            return memcrypt::GuestMemory::create_software(ranges, fds.userfaultfd, std::move(self), fds.ram,
                                                          {.window_bytes = config.software.window_bytes,
                                                           .seal_after = config.software.seal_after,
                                                           .suite = config.software.suite,
                                                           .readers = (config.cpus + 1) / 2});
        case memcrypt::Tier::SevSnp:
        case memcrypt::Tier::Tdx: break;
    }
    return input_error("this memory tier is not built yet");
}

Result<void> Machine::build() {
    memory_.report_loss_to({.tampered = [this](GuestAddr page) { memory_tampered(page); },
                            .failed = [this](const Error& error) { memory_failed(error); }});
    HF_TRY(poller_.add(wake_.fd(), EPOLLIN, number(Token::Wake)));
    HF_TRY(poller_.add(handover_, EPOLLIN, number(Token::Handover)));
    HF_TRY(build_legacy());
    HF_TRY(build_pci());
    HF_TRY(build_virtio());
    HF_TRY(build_devices());
    HF_TRY(build_tpm());
    control_ = HF_TRY(control::Server::create(
        std::move(fds_.control_listener), poller_,
        {.listener = number(Token::ControlListener), .session = number(Token::ControlSession)}, *this));
    const LoadedGuest guest = HF_TRY(load_guest(memory_, config_, fds_.kernel, fds_.initrd));
    started_ = {.launch_digest = guest.launch_digest,
                .pcrs = HF_TRY(eventlog::replay_banks(guest.measured)),
                .event_log = {}};
    if (tpm_) started_.event_log = eventlog::encode(guest.measured);
    if (config_.expected_digest && started_.launch_digest != config_.expected_digest) {
        return input_error(
            "what was loaded is not what was measured before: the kernel or initrd has changed");
    }
    if (tpm_) HF_TRY(tpm_->power_on(guest.measured));
    if (fds_.control_session) {
        HF_TRY(control_->adopt_session(std::move(fds_.control_session), control::Cause::GuestReset));
    }
    fds_ = {};
    return build_vcpus(guest.entry);
}

Result<void> Machine::build_legacy() {
    UniqueFd console = config_.virtio_console ? HF_TRY(fds_.console.duplicate()) : std::move(fds_.console);
    console_ = HF_TRY(legacy::ConsoleStream::create(std::move(console), poller_, number(Token::Console)));
    serial_line_ = HF_TRY(vm_->create_line(legacy::kSerialGsi));
    serial_.emplace(*serial_line_, *console_);
    HF_TRY(ports_.add(legacy::kSerialPort, legacy::kSerialPorts, *serial_));
    // One of the two consoles gets the input; both may write.
    if (!config_.virtio_console) console_->attach(*serial_);

    event_line_ = HF_TRY(vm_->create_line(legacy::kEventGsi));
    power_.emplace(*event_line_, *this);
    HF_TRY(ports_.add(legacy::kPowerPort, legacy::kPowerPorts, *power_));
    keyboard_reset_.emplace(*this);
    return ports_.add(legacy::kKeyboardPort, 1, *keyboard_reset_);
}

Result<void> Machine::build_pci() {
    HF_TRY(mmio_.add(pci::kEcamStart, pci::kEcamSize, pci_.ecam()));
    HF_TRY(ports_.add(pci::kConfigPort, pci::kConfigPortSize, pci_.ports()));
    pvpanic_.emplace([this](pci::Pvpanic::Event event) { guest_panicked(event); });
    return pci_.add(next_slot_++, *pvpanic_);
}

Result<void> Machine::build_virtio() {
    io_ = HF_TRY(io::Client::create(fds_.io_memory, EventFd{std::move(fds_.io_requests)},
                                    EventFd{std::move(fds_.io_completions)}));
    worker_ = HF_TRY(virtio::Worker::create(io_.get(), [this](const Error& error) { io_failed(error); }));
    HF_TRY(add_virtio(std::make_unique<virtio::Rng>(memory_)));
    std::uint8_t index = 0;
    for (const DiskShape& disk : config_.disks) {
        const std::string serial = "disk" + std::to_string(index);
        auto block = std::make_unique<virtio::Block>(memory_, *io_,
                                                     virtio::BlockShape{.disk = io::ResourceId{index++},
                                                                        .size_bytes = disk.size_bytes,
                                                                        .read_only = disk.read_only,
                                                                        .serial = serial});
        disks_.push_back(block.get());
        HF_TRY(add_virtio(std::move(block)));
    }
    if (config_.net) {
        HF_TRY(add_virtio(std::make_unique<virtio::Net>(
            memory_, *io_, virtio::NetShape{.mac = config_.net->mac, .mtu = config_.net->mtu})));
    }
    if (config_.vsock_cid) {
        HF_TRY(add_virtio(std::make_unique<virtio::Vsock>(memory_, *io_, *config_.vsock_cid)));
    }
    if (config_.virtio_console) {
        HF_TRY(add_virtio(std::make_unique<virtio::Console>(memory_, std::move(fds_.console))));
    }
    return {};
}

Result<void> Machine::add_virtio(std::unique_ptr<virtio::Device> device) {
    auto transport = HF_TRY(virtio::PciTransport::create(*device, memory_, interrupts_, *vm_));
    HF_TRY(pci_.add(next_slot_++, *transport));
    HF_TRY(worker_->add(*transport));
    virtio_devices_.push_back(std::move(device));
    virtio_transports_.push_back(std::move(transport));
    return {};
}

Result<void> Machine::build_devices() {
    if (config_.devices.empty()) return {};
    // What the ACPI table will say, and the launch digest covers.
    check(next_slot_ == iommu_slot(config_), "PCI slot of the IOMMU");
    devices_ = HF_TRY(vfio::Assigned::create({.memory = memory_,
                                              .interrupts = interrupts_,
                                              .lines = *vm_,
                                              .doorbells = *vm_,
                                              .slots = *vm_,
                                              .pci = pci_},
                                             config_.devices, std::move(fds_.devices), next_slot_,
                                             {.failed = [this](const Error& error) { device_failed(error); },
                                              .happened = [this] { wake_.signal(); }}));
    return {};
}

Result<void> Machine::build_tpm() {
    if (!config_.vtpm) return {};
    tpm_ = HF_TRY(tpm::Tpm::create(std::move(fds_.tpm_control), std::move(fds_.tpm_data)));
    HF_TRY(mmio_.add(tpm::kCrbRegisters, tpm::kCrbRegistersSize, tpm_->registers()));
    return vm_->map(tpm::kCrbBuffer, tpm_->buffer());
}

Result<void> Machine::build_vcpus(const kvm::EntryState& entry) {
    for (std::uint32_t index = 0; index < config_.cpus; ++index) {
        kvm::Vcpu vcpu = HF_TRY(vm_->create_vcpu(index, config_.cpus));
        HF_TRY(vcpu.set_boot_msrs());
        if (index == 0) HF_TRY(vcpu.set_entry(entry));
        vcpus_.push_back(
            std::make_unique<VcpuThread>(index, std::move(vcpu), VcpuThread::Buses{ports_, mmio_}, *this));
    }
    worker_->start();
    if (tpm_) tpm_->start();
    return {};
}

}  // namespace holdfast::vmm
