// SPDX-License-Identifier: Apache-2.0
#include "vmm/vfio/function.hpp"

#include <algorithm>
#include <array>
#include <bit>

#include "memcrypt/address.hpp"
#include "sys/log.hpp"

namespace holdfast::vfio {
namespace {

using iommu::host::BusMaster;
using iommu::host::Interrupts;
using iommu::host::Region;
namespace spec = pci::spec;

// PCI 3.0 §6.2.5.1, base address registers.
constexpr std::uint32_t kBarIo = 1U << 0;
constexpr std::uint32_t kBarType = 3U << 1;
constexpr std::uint32_t kBar64 = 2U << 1;
// §6.8.2.3-5, MSI-X capability.
constexpr std::size_t kTable = 4;
constexpr std::size_t kPending = 8;
constexpr std::uint16_t kTableSize = 0x7ff;
constexpr std::uint32_t kBarIndex = 7;
// §6.2.4, interrupt pin.
constexpr std::uint8_t kIntA = 1;
/// So many capabilities fit behind the header, each of at least 4 bytes; more is a loop.
constexpr int kMostCapabilities = 48;

using ConfigSpace = std::array<std::byte, spec::kConfigSize>;

/// Where the capability is; none if there is no such thing. The list is the device's: it may loop.
std::optional<std::size_t> find_capability(std::span<const std::byte> config, std::uint8_t id) noexcept {
    if ((pci::get_field<std::uint16_t>(config, spec::STATUS) & spec::STATUS_CAPABILITIES) == 0)
        return std::nullopt;
    std::size_t at = pci::get_field<std::uint8_t>(config, spec::CAPABILITIES) & 0xfcU;
    for (int left = kMostCapabilities; at >= spec::FIRST_CAPABILITY && left > 0; --left) {
        if (pci::get_field<std::uint8_t>(config, at) == id) return at;
        at = pci::get_field<std::uint8_t>(config, at + 1) & 0xfcU;
    }
    return std::nullopt;
}

}  // namespace

Result<Function::Shape> Function::read_shape(const iommu::host::Device& device) {
    ConfigSpace config{};
    HF_TRY(device.read_config(0, config));
    Shape shape;
    shape.identity = {.vendor = pci::get_field<std::uint16_t>(config, spec::VENDOR_ID),
                      .device = pci::get_field<std::uint16_t>(config, spec::DEVICE_ID),
                      .class_code = pci::get_field<std::uint32_t>(config, spec::REVISION_ID) >> 8,
                      .revision = pci::get_field<std::uint8_t>(config, spec::REVISION_ID),
                      .subsystem_vendor = pci::get_field<std::uint16_t>(config, spec::SUBSYSTEM_VENDOR_ID),
                      .subsystem = pci::get_field<std::uint16_t>(config, spec::SUBSYSTEM_ID)};
    HF_TRY(read_interrupts(device, config, shape));
    return shape;
}

Result<void> Function::read_interrupts(const iommu::host::Device& device,
                                       std::span<const std::byte, spec::kConfigSize> config, Shape& shape) {
    shape.has_line = HF_TRY(device.vectors(Interrupts::Intx)) != 0;
    const std::uint32_t vectors = HF_TRY(device.vectors(Interrupts::Msix));
    const auto msix = find_capability(config, spec::CAP_MSIX);
    if (vectors == 0 || !msix || *msix + pci::Msix::kCapabilitySize > config.size()) {
        shape.kind = Interrupts::Msi;
        const bool there = find_capability(config, spec::CAP_MSI).has_value();
        shape.vectors = there && HF_TRY(device.vectors(Interrupts::Msi)) != 0 ? 1 : 0;
        return {};
    }
    shape.vectors = static_cast<std::uint16_t>(std::min<std::uint32_t>(vectors, pci::Msix::kMaxVectors));
    const std::uint64_t own =
        (pci::get_field<std::uint16_t>(config, *msix + spec::MSIX_CONTROL) & kTableSize) + 1U;
    const auto hide = [&](std::size_t field, std::uint64_t size) {
        const auto where = pci::get_field<std::uint32_t>(config, *msix + field);
        shape.hidden.push_back({where & kBarIndex, where & ~std::uint64_t{kBarIndex}, size});
    };
    hide(kTable, own * spec::MSIX_ENTRY_SIZE);
    hide(kPending, (own + 63) / 64 * 8);
    return {};
}

Result<std::unique_ptr<Function>> Function::create(iommu::host::Device device, std::string address,
                                                   const Parts& parts, std::optional<irq::LevelLine> line,
                                                   std::function<void(const Error&)> failed) {
    HF_TRY(device.reset());
    HF_TRY(device.enable_memory());
    const Shape shape = HF_TRY(read_shape(device));
    std::vector<EventFd> signals;
    for (std::uint16_t i = 0; i < shape.vectors; ++i) signals.push_back(HF_TRY(EventFd::create()));
    if (!shape.has_line) line.reset();
    std::unique_ptr<Function> function{new Function{std::move(device), std::move(address), shape, parts,
                                                    std::move(signals), std::move(line), std::move(failed)}};
    HF_TRY(function->add_bars(shape));
    HF_TRY(function->add_interrupts(shape.kind));
    return function;
}

Function::Function(iommu::host::Device device, std::string address, const Shape& shape, const Parts& parts,
                   std::vector<EventFd> signals, std::optional<irq::LevelLine> line,
                   std::function<void(const Error&)> failed)
    : pci::Function{shape.identity},
      device_{std::move(device)},
      address_{std::move(address)},
      parts_{parts},
      failed_{std::move(failed)},
      signals_{std::move(signals)},
      line_{std::move(line)} {}

Result<void> Function::add_bars(const Shape& shape) {
    for (unsigned index = 0; index < spec::kBars; ++index) {
        std::array<std::byte, 4> bytes{};
        HF_TRY(device_.read_config(spec::BAR0 + 4 * index, bytes));
        const auto type = pci::get_field<std::uint32_t>(bytes, 0);
        if ((type & kBarIo) != 0) continue;
        std::vector<Hidden> hidden;
        std::ranges::copy_if(shape.hidden, std::back_inserter(hidden),
                             [index](const Hidden& piece) { return piece.bar == index; });
        auto window = HF_TRY(Window::create(*this, index, std::move(hidden)));
        if (window->size() == 0) continue;
        const bool wide = (type & kBarType) == kBar64;
        if (!std::has_single_bit(window->size()) || window->size() < 16 ||
            (wide && index + 1 == spec::kBars)) {
            return input_error("the device has a BAR that cannot be passed on");
        }
        add_bar(index, window->size(), wide ? pci::BarWidth::Bits64 : pci::BarWidth::Bits32, *window);
        windows_.push_back(std::move(window));
        taken_[index] = true;
        if (wide) taken_[++index] = true;
    }
    return {};
}

Result<void> Function::add_interrupts(Interrupts kind) {
    if (line_) {
        pci::put_field<std::uint8_t>(config(), spec::INTERRUPT_PIN, kIntA);
        // A driver that finds all of the command register as it wants it does not write it.
        const Lock hold{lock_};
        settle_interrupts();
    }
    if (signals_.empty()) return {};
    if (kind == Interrupts::Msi) {
        msi_ = HF_TRY(pci::Msi::create(parts_.interrupts, signals_.front()));
        capability_ = add_capability(pci::Msi::capability(), pci::Msi::writable());
        return {};
    }
    const auto* const free = std::ranges::find(taken_, false);
    if (free == taken_.end()) return input_error("the device has no free BAR for its interrupt table");
    msix_ = HF_TRY(pci::Msix::create(parts_.interrupts, signals_));
    const auto bar = static_cast<unsigned>(free - taken_.begin());
    add_bar(bar, pci::Msix::kBarSize, pci::BarWidth::Bits32, *msix_);
    capability_ = add_capability(msix_->capability(bar), pci::Msix::writable());
    return {};
}

void Function::bar_moved(unsigned index, std::optional<std::uint64_t> address) noexcept {
    const auto window =
        std::ranges::find_if(windows_, [index](const auto& one) { return one->bar() == index; });
    if (window != windows_.end()) (*window)->move_to(address);
}

void Function::config_was_written(std::size_t offset, std::size_t size) noexcept {
    const bool command = pci::touches(offset, size, spec::COMMAND, 2);
    const bool msix = msix_ && pci::touches(offset, size, capability_ + spec::MSIX_CONTROL, 2);
    const bool msi = msi_ && pci::touches(offset, size, capability_, pci::Msi::kCapabilitySize);
    if (!command && !msix && !msi) return;
    const Lock hold{lock_};
    if (msix) msix_->set_control(msix_control());
    if (msi) msi_->set(config().subspan(capability_).first<pci::Msi::kCapabilitySize>());
    settle_interrupts();
    wanted_ = (pci::get_field<std::uint16_t>(config(), spec::COMMAND) & spec::COMMAND_MASTER) != 0;
    settle_bus_master();
}

std::uint16_t Function::msix_control() const noexcept {
    return pci::get_field<std::uint16_t>(config(), capability_ + spec::MSIX_CONTROL);
}

/// PCI 3.0 §6.8: a function whose messages are on does not use its line.
std::optional<Interrupts> Function::wanted_interrupts() const noexcept {
    if (down_) return std::nullopt;
    if (msix_ && (msix_control() & spec::MSIX_ENABLE) != 0) return Interrupts::Msix;
    if (msi_ && msi_->enabled()) return Interrupts::Msi;
    const auto command = pci::get_field<std::uint16_t>(config(), spec::COMMAND);
    if (line_ && (command & spec::COMMAND_INTX_DISABLE) == 0) return Interrupts::Intx;
    return std::nullopt;
}

Result<void> Function::connect(Interrupts kind) const {
    if (kind == Interrupts::Intx)
        return device_.connect_line(line_->raised.fd().get(), line_->ended.fd().get());
    std::array<int, iommu::host::Device::kMostVectors> numbers{};
    std::ranges::transform(signals_, numbers.begin(), [](const EventFd& event) { return event.fd().get(); });
    return device_.connect_vectors(kind, std::span{numbers}.first(signals_.size()));
}

void Function::settle_interrupts() noexcept {
    const auto wanted = wanted_interrupts();
    if (wanted == connected_) return;
    // The guest waits for interrupts that do not come: seen there, and here.
    const auto warn = [this](const Error& error) {
        log::warn("device.interrupts", error, {{"device", address_}});
    };
    if (connected_) {
        // VFIO has one kind on at a time.
        if (const auto done = device_.disconnect(*connected_); !done) return warn(done.error());
        connected_.reset();
    }
    if (!wanted) return;
    const auto done = connect(*wanted);
    if (!done) warn(done.error());
    else connected_ = wanted;
}

void Function::settle_bus_master() noexcept {
    const bool masters = wanted_ && reachable_ && !down_;
    if (masters == masters_) return;
    const auto done = device_.set_bus_master(masters ? BusMaster::On : BusMaster::Off);
    if (done) masters_ = masters;
    else if (masters) log::warn("device.bus_master", done.error(), {{"device", address_}});
    else failed_(done.error());
}

void Function::set_reachable(bool reachable) noexcept {
    const Lock hold{lock_};
    if (reachable == reachable_) return;
    reachable_ = reachable;
    settle_bus_master();
}

void Function::shut_down() noexcept {
    const Lock hold{lock_};
    if (std::exchange(down_, true)) return;
    settle_bus_master();
    // Best effort from here on: the kernel does the same when the last descriptor is closed.
    settle_interrupts();
    if (const auto reset = device_.reset(); !reset)
        log::warn("device.reset", reset.error(), {{"device", address_}});
}

Result<std::unique_ptr<Function::Window>> Function::Window::create(const Function& function, unsigned bar,
                                                                   std::vector<Hidden> hidden) {
    const Region region = HF_TRY(function.device_.region(bar));
    std::unique_ptr<Window> window{new Window{function, bar, region, std::move(hidden)}};
    if (region.mappable) HF_TRY(window->open_pages());
    return window;
}

Result<void> Function::Window::open_pages() {
    for (std::uint64_t offset = 0; offset < region_.size; offset += kPageSize) {
        std::uint64_t end = offset;
        while (end + kPageSize <= region_.size && !is_hidden(end, kPageSize)) end += kPageSize;
        if (end == offset) continue;
        pages_.push_back(
            {.offset = offset,
             .bytes = HF_TRY(Mapping::shared(function_.device_.fd(), end - offset, region_.offset + offset)),
             .mapped_at = {}});
        offset = end;
    }
    return {};
}

void Function::Window::move_to(std::optional<std::uint64_t> address) noexcept {
    bus::Slots& slots = function_.parts_.slots;
    for (Pages& pages : pages_) {
        if (pages.mapped_at) slots.unmap(*pages.mapped_at);
        pages.mapped_at.reset();
        if (!address) continue;
        const std::uint64_t at = *address + pages.offset;
        // Without it slower but right: each access leaves to read() and write().
        if (const auto mapped = slots.map(at, pages.bytes.bytes()); mapped) pages.mapped_at = at;
        else log::warn("device.pages", mapped.error(), {{"device", name()}});
    }
}

bool Function::Window::is_hidden(std::uint64_t offset, std::size_t size) const noexcept {
    return std::ranges::any_of(
        hidden_, [&](const Hidden& piece) { return pci::touches(offset, size, piece.offset, piece.size); });
}

void Function::Window::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    if (is_hidden(offset, out.size()) || !function_.device_.read(region_, offset, out)) {
        std::ranges::fill(out, std::byte{0xff});
    }
}

void Function::Window::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    if (is_hidden(offset, in.size())) return;
    // As hardware: a write that nothing takes is lost.
    static_cast<void>(function_.device_.write(region_, offset, in));
}

}  // namespace holdfast::vfio
