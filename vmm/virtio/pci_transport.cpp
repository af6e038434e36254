// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/pci_transport.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "sys/log.hpp"

namespace holdfast::virtio {

namespace {

constexpr unsigned kRegisterBar = 0;
constexpr unsigned kMsixBar = 1;
constexpr std::size_t kWindowDataOffset = sizeof(spec::PciCapability);  // pci_cfg_data, §4.1.4.9
constexpr std::size_t kWindowDataSize = 4;

template <typename T>
std::span<const std::byte> bytes_of(const T& value) noexcept {
    return std::as_bytes(std::span{&value, 1});
}

/// The part of `structure` that an access covers; what lies beyond its end reads zero.
void read_from(std::span<const std::byte> structure, std::uint64_t offset,
               std::span<std::byte> out) noexcept {
    for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = offset + i < structure.size() ? structure[offset + i] : std::byte{0};
    }
}

}  // namespace

Result<std::unique_ptr<PciTransport>> PciTransport::create(virtio::Device& device,
                                                           const memcrypt::GuestMemory& memory,
                                                           irq::MsiSource& interrupts,
                                                           bus::Doorbells& doorbells,
                                                           const TransportOptions& options) {
    const std::size_t queues = device.describe().queues.size();
    check(queues >= 1 && queues <= kMaxQueues, "number of virtqueues");
    // One vector for configuration changes and one a queue.
    auto msix = HF_TRY(pci::Msix::create(interrupts, static_cast<std::uint16_t>(queues + 1)));
    auto attention = HF_TRY(EventFd::create());
    return std::unique_ptr<PciTransport>{
        new PciTransport{device, memory, doorbells, std::move(msix), std::move(attention), options}};
}

PciTransport::PciTransport(virtio::Device& device, const memcrypt::GuestMemory& memory,
                           bus::Doorbells& doorbells, std::unique_ptr<pci::Msix> msix, EventFd attention,
                           const TransportOptions& options)
    : Function{{.vendor = spec::PCI_VENDOR,
                .device = static_cast<std::uint16_t>(spec::PCI_DEVICE_BASE + device.describe().type),
                .class_code = device.describe().pci_class,
                .revision = 1,  // §4.1.2.1: not transitional
                .subsystem_vendor = spec::PCI_VENDOR,
                .subsystem = 0x1100}},
      device_{device},
      memory_{memory},
      doorbells_{doorbells},
      description_{device.describe()},
      offered_{description_.features | spec::F_VERSION_1 | spec::F_INDIRECT_DESC |
               (options.attend ? 0 : spec::F_EVENT_IDX) |
               (options.access_platform ? spec::F_ACCESS_PLATFORM : 0)},
      access_platform_{options.access_platform},
      attend_{options.attend},
      msix_{std::move(msix)},
      attention_{std::move(attention)},
      registers_{*this},
      queues_(description_.queues.size()) {
    add_bar(kRegisterBar, kBarSize, pci::BarWidth::Bits32, registers_);
    add_bar(kMsixBar, pci::Msix::kBarSize, pci::BarWidth::Bits32, *msix_);
    add_capabilities();
    const Lock hold{lock_};
    clear_registers();
}

PciTransport::~PciTransport() { bar_moved(kRegisterBar, std::nullopt); }

void PciTransport::add_capabilities() {
    const auto structure = [](std::uint8_t type, std::size_t size, std::uint64_t offset, std::size_t length) {
        return spec::PciCapability{.cap_vndr = pci::spec::CAP_VENDOR,
                                   .cap_next = 0,
                                   .cap_len = static_cast<std::uint8_t>(size),
                                   .cfg_type = type,
                                   .bar = kRegisterBar,
                                   .id = 0,
                                   .padding = {},
                                   .offset = static_cast<std::uint32_t>(offset),
                                   .length = static_cast<std::uint32_t>(length)};
    };
    constexpr std::size_t kPlain = sizeof(spec::PciCapability);
    const auto add = [&](std::uint8_t type, std::uint64_t offset, std::size_t length) {
        add_capability(bytes_of(structure(type, kPlain, offset, length)), {});
    };
    add(spec::PCI_CAP_COMMON_CFG, kCommonOffset, sizeof(spec::CommonCfg));
    add(spec::PCI_CAP_ISR_CFG, kIsrOffset, 1);
    if (!description_.config.empty())
        add(spec::PCI_CAP_DEVICE_CFG, kDeviceOffset, description_.config.size());

    struct Notify {  // §4.1.4.4
        spec::PciCapability capability;
        Le<std::uint32_t> notify_off_multiplier;
    };
    const Notify notify{structure(spec::PCI_CAP_NOTIFY_CFG, sizeof(Notify), kNotifyOffset,
                                  kNotifyMultiplier * description_.queues.size()),
                        kNotifyMultiplier};
    add_capability(bytes_of(notify), {});

    struct ConfigWindow {  // §4.1.4.9
        spec::PciCapability capability;
        std::array<std::byte, kWindowDataSize> pci_cfg_data;
    };
    const ConfigWindow window{structure(spec::PCI_CAP_PCI_CFG, sizeof(ConfigWindow), 0, 0), {}};
    std::array<std::byte, sizeof(ConfigWindow)> writable{};
    writable[offsetof(spec::PciCapability, bar)] = std::byte{0xff};
    std::fill(writable.begin() + offsetof(spec::PciCapability, offset), writable.end(), std::byte{0xff});
    window_capability_ = add_capability(bytes_of(window), writable);

    msix_capability_ = add_capability(msix_->capability(kMsixBar), pci::Msix::writable());
}

// Configuration space.

/// Where in BAR 0 the configuration window points, and how many bytes; none if nowhere valid.
std::optional<std::uint64_t> PciTransport::window_access(std::size_t& size) const noexcept {
    const std::size_t at = window_capability_;
    const auto bar = pci::get_field<std::uint8_t>(config(), at + offsetof(spec::PciCapability, bar));
    const auto offset = pci::get_field<std::uint32_t>(config(), at + offsetof(spec::PciCapability, offset));
    size = pci::get_field<std::uint32_t>(config(), at + offsetof(spec::PciCapability, length));
    const bool valid = bar == kRegisterBar && (size == 1 || size == 2 || size == 4) && offset % size == 0 &&
                       offset <= kBarSize - size;
    return valid ? std::optional<std::uint64_t>{offset} : std::nullopt;
}

void PciTransport::config_will_be_read(std::size_t offset, std::size_t size) noexcept {
    const std::size_t data = window_capability_ + kWindowDataOffset;
    if (!pci::touches(offset, size, data, kWindowDataSize)) return;
    std::size_t length = 0;
    if (const auto target = window_access(length)) registers_.read(*target, config().subspan(data, length));
}

void PciTransport::config_was_written(std::size_t offset, std::size_t size) noexcept {
    if (pci::touches(offset, size, msix_capability_ + pci::spec::MSIX_CONTROL, 2)) {
        msix_->set_control(
            pci::get_field<std::uint16_t>(config(), msix_capability_ + pci::spec::MSIX_CONTROL));
    }
    const std::size_t data = window_capability_ + kWindowDataOffset;
    if (!pci::touches(offset, size, data, kWindowDataSize)) return;
    std::size_t length = 0;
    if (const auto target = window_access(length)) registers_.write(*target, config().subspan(data, length));
}

void PciTransport::bar_moved(unsigned index, std::optional<std::uint64_t> address) noexcept {
    if (index != kRegisterBar || attend_) return;
    const auto bell = [](std::uint64_t bar, std::size_t queue) {
        return bar + kNotifyOffset + queue * kNotifyMultiplier;
    };
    if (doorbells_at_) {
        for (std::size_t i = 0; i < queues_.size(); ++i)
            doorbells_.detach(bell(*doorbells_at_, i), attention_);
    }
    doorbells_at_.reset();
    if (!address) return;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        const auto attached = doorbells_.attach(bell(*address, i), attention_);
        if (attached) continue;
        // Slower but right: the write leaves to us and registers_ signals.
        log::warn("virtio.doorbell", attached.error(), {{"device", name()}, {"queue", i}});
        while (i-- > 0) doorbells_.detach(bell(*address, i), attention_);
        return;
    }
    doorbells_at_ = address;
}

// BAR 0.

void PciTransport::Registers::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    PciTransport& transport = transport_;
    const std::uint64_t section = offset / kSectionSize * kSectionSize;
    const std::uint64_t inside = offset - section;
    std::ranges::fill(out, std::byte{0});
    if (section == kCommonOffset) {
        transport.read_common(inside, out);
    } else if (section == kIsrOffset) {
        // §4.1.4.5: reading clears.
        if (inside == 0) out[0] = std::byte{transport.isr_.exchange(0)};
    } else if (section == kDeviceOffset) {
        read_from(transport.description_.config, inside, out);
    }
}

void PciTransport::Registers::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    PciTransport& transport = transport_;
    if (offset < kCommonOffset + kSectionSize) {
        transport.write_common(offset - kCommonOffset, in);
        if (transport.request_.load() != Request::None) transport.call_attention();
    } else if (offset >= kNotifyOffset) {
        // Which queue does not matter: the device thread looks at all queues of the device.
        transport.call_attention();
    }
}

void PciTransport::call_attention() noexcept {
    if (attend_) attend_();
    else attention_.signal();
}

void PciTransport::read_common(std::uint64_t offset, std::span<std::byte> out) noexcept {
    const Lock hold{lock_};
    const auto half = [](std::uint64_t features, std::uint32_t select) {
        return select < 2 ? static_cast<std::uint32_t>(features >> (32 * select)) : 0;
    };
    spec::CommonCfg view{};
    view.device_feature_select = device_feature_select_;
    view.device_feature = half(offered_, device_feature_select_);
    view.driver_feature_select = driver_feature_select_;
    view.driver_feature = half(driver_features_, driver_feature_select_);
    view.config_msix_vector = config_vector_.load();
    view.num_queues = static_cast<std::uint16_t>(queues_.size());
    view.device_status = status_;
    view.config_generation = generation_;
    view.queue_select = queue_select_;
    if (queue_select_ < queues_.size()) {  // §4.1.4.3.1: else size 0 says that there is none
        const QueueRegisters& queue = registers_of_queues_[queue_select_];
        view.queue_size = queue.size;
        view.queue_msix_vector = queue_vectors_[queue_select_].load();
        view.queue_enable = static_cast<std::uint16_t>(queue.enabled);
        view.queue_notify_off = queue_select_;
        view.queue_desc = queue.descriptors;
        view.queue_driver = queue.available;
        view.queue_device = queue.used;
    }
    read_from(bytes_of(view), offset, out);
}

std::uint16_t PciTransport::valid_vector(std::uint64_t vector) const noexcept {
    // §4.1.5.1.2.1: a vector that cannot be had reads back as none.
    return vector < msix_->vectors() ? static_cast<std::uint16_t>(vector) : spec::NO_VECTOR;
}

void PciTransport::write_common(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    const Lock hold{lock_};
    if (request_.load() == Request::Reset) return;  // §4.1.4.3.2: the driver waits for status 0
    std::uint64_t value = 0;
    std::memcpy(&value, in.data(), in.size());
    const auto is = [&](std::size_t field, std::size_t size) { return offset == field && in.size() == size; };
    using C = spec::CommonCfg;
    if (is(offsetof(C, device_feature_select), 4)) {
        device_feature_select_ = static_cast<std::uint32_t>(value);
    } else if (is(offsetof(C, driver_feature_select), 4)) {
        driver_feature_select_ = static_cast<std::uint32_t>(value);
    } else if (is(offsetof(C, driver_feature), 4)) {
        if ((status_ & spec::FEATURES_OK) != 0 || driver_feature_select_ >= 2) return;
        const unsigned shift = 32 * driver_feature_select_;
        driver_features_ = (driver_features_ & ~(0xffffffffULL << shift)) | value << shift;
    } else if (is(offsetof(C, config_msix_vector), 2)) {
        config_vector_.store(valid_vector(value));
    } else if (is(offsetof(C, device_status), 1)) {
        write_status(static_cast<std::uint8_t>(value));
    } else if (is(offsetof(C, queue_select), 2)) {
        queue_select_ = static_cast<std::uint16_t>(value);
    } else if (queue_select_ < queues_.size()) {
        write_queue(offset, in);
    }
}

void PciTransport::write_queue(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, in.data(), in.size());
    using C = spec::CommonCfg;
    if (offset == offsetof(C, queue_msix_vector) && in.size() == 2) {
        queue_vectors_[queue_select_].store(valid_vector(value));
        return;
    }
    // An enabled queue stays as it is until reset (§4.1.4.3.2).
    QueueRegisters& queue = registers_of_queues_[queue_select_];
    if (queue.enabled || (status_ & spec::DRIVER_OK) != 0) return;
    if (offset == offsetof(C, queue_size) && in.size() == 2) {
        const bool fits = value <= description_.queues[queue_select_] && std::has_single_bit(value);
        if (fits) queue.size = static_cast<std::uint16_t>(value);
        return;
    }
    if (offset == offsetof(C, queue_enable) && in.size() == 2) {
        queue.enabled = value == 1;
        return;
    }
    // §4.1.3.1: the halves of a 64-bit field may be written one by one.
    const auto put = [&](std::size_t field, std::uint64_t& target) {
        if (offset < field || offset - field + in.size() > 8 || (offset - field) % 4 != 0 || in.size() < 4)
            return;
        std::array<std::byte, 8> raw = std::bit_cast<std::array<std::byte, 8>>(target);
        std::ranges::copy(in, raw.begin() + static_cast<std::ptrdiff_t>(offset - field));
        target = std::bit_cast<std::uint64_t>(raw);
    };
    put(offsetof(C, queue_desc), queue.descriptors);
    put(offsetof(C, queue_driver), queue.available);
    put(offsetof(C, queue_device), queue.used);
}

bool PciTransport::accepts_features() const noexcept {
    if ((driver_features_ & ~offered_) != 0) return false;
    if ((driver_features_ & spec::F_VERSION_1) == 0) return false;
    // §6.1: a device that translates addresses may insist.
    return !access_platform_ || (driver_features_ & spec::F_ACCESS_PLATFORM) != 0;
}

// §2.1 and §3.1.1. Bits are only ever added; all of them go with a reset.
void PciTransport::write_status(std::uint8_t value) noexcept {
    if (value == 0) {
        if ((status_ & spec::DRIVER_OK) == 0) {  // never started: nothing to wait for
            clear_registers();
            return;
        }
        request_.store(Request::Reset);
        return;
    }
    const auto added = static_cast<std::uint8_t>(value & ~status_);
    status_ |= added & (spec::ACKNOWLEDGE | spec::DRIVER | spec::FAILED);
    if ((added & spec::FEATURES_OK) != 0 && accepts_features()) status_ |= spec::FEATURES_OK;
    if ((added & spec::DRIVER_OK) != 0 && (status_ & spec::FEATURES_OK) != 0) {
        status_ |= spec::DRIVER_OK;
        request_.store(Request::Start);
    }
}

void PciTransport::clear_registers() noexcept {
    status_ = 0;
    device_feature_select_ = driver_feature_select_ = 0;
    driver_features_ = 0;
    queue_select_ = 0;
    for (std::size_t i = 0; i < queues_.size(); ++i)
        registers_of_queues_[i] = {.size = description_.queues[i]};
    config_vector_.store(spec::NO_VECTOR);
    for (auto& vector : queue_vectors_) vector.store(spec::NO_VECTOR);
    isr_.store(0);
}

// The device thread's side.

Result<void> PciTransport::build_queues() noexcept {
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        const QueueRegisters& registers = registers_of_queues_[i];
        queues_[i] = Queue{};
        if (!registers.enabled) continue;
        queues_[i] =
            HF_TRY(Queue::create(memory_, {.size = registers.size,
                                           .descriptors = GuestAddr{registers.descriptors},
                                           .available = GuestAddr{registers.available},
                                           .used = GuestAddr{registers.used},
                                           .indirect = (driver_features_ & spec::F_INDIRECT_DESC) != 0,
                                           .event_idx = (driver_features_ & spec::F_EVENT_IDX) != 0,
                                           .every_kick = attend_ != nullptr}));
    }
    return {};
}

bool PciTransport::settle() noexcept {
    switch (request_.load()) {
        case Request::None: return false;
        case Request::Reset: {
            // Whether the start before it was carried out or not.
            if (running_ && !device_.is_idle()) return false;
            if (running_) device_.stop();
            running_ = broken_ = false;
            const Lock hold{lock_};
            clear_registers();
            request_.store(Request::None);
            return false;
        }
        case Request::Start: break;
    }
    Result<void> built;
    std::uint64_t features = 0;
    {
        const Lock hold{lock_};
        if (request_.load() != Request::Start) return false;  // reset meanwhile: next call
        built = build_queues();
        features = driver_features_;
        request_.store(Request::None);
    }
    if (!built) {
        ask_for_reset(built.error());
        return false;
    }
    running_ = true;
    device_.start(queues_, features);
    return true;
}

bool PciTransport::has_work() noexcept {
    if (!is_running()) return false;
    for (Queue& queue : queues_) {
        if (!queue.is_wanted()) continue;
        const auto chain = queue.has_chain();
        if (!chain) {
            ask_for_reset(chain.error());
            return false;
        }
        if (*chain) return true;
    }
    return false;
}

void PciTransport::run() noexcept {
    if (!is_running() || request_.load() == Request::Reset) return;
    if (const auto done = device_.run(); !done) ask_for_reset(done.error());
}

void PciTransport::complete(io::Completion completion) noexcept {
    if (const auto done = device_.complete(std::move(completion)); !done && !broken_)
        ask_for_reset(done.error());
}

void PciTransport::publish() noexcept {
    if (!running_) return;
    for (std::size_t i = 0; i < queues_.size(); ++i) {
        if (queues_[i].publish()) interrupt(spec::ISR_QUEUE, queue_vectors_[i]);
    }
}

bool PciTransport::arm() noexcept {
    if (!is_running()) return false;
    for (Queue& queue : queues_) {
        const auto chain = queue.arm();
        if (!chain) {
            ask_for_reset(chain.error());
            return false;
        }
        if (*chain) return true;
    }
    return false;
}

void PciTransport::ask_for_reset(const Error& error) noexcept {
    log::warn("virtio.broken", error, {{"device", name()}});
    broken_ = true;
    {
        const Lock hold{lock_};
        status_ |= spec::DEVICE_NEEDS_RESET;
        ++generation_;
        if ((status_ & spec::DRIVER_OK) == 0) return;
    }
    interrupt(spec::ISR_CONFIG, config_vector_);  // §2.1.2
}

void PciTransport::interrupt(std::uint8_t isr, const std::atomic<std::uint16_t>& vector) noexcept {
    isr_.fetch_or(isr);
    const std::uint16_t number = vector.load();
    if (number != spec::NO_VECTOR) msix_->trigger(number);
}

}  // namespace holdfast::virtio
