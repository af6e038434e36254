// SPDX-License-Identifier: Apache-2.0
#include "vmm/vfio/assigned.hpp"

#include <algorithm>
#include <chrono>

#include "sys/log.hpp"
#include "vmm/boot/acpi.hpp"

namespace holdfast::vfio {
namespace {

using vmm::DeviceEvent;

/// What of the guest's doing is told: the audit log takes no more (iommu/audit.hpp).
constexpr std::uint64_t kEventsPerSecond = 50;
constexpr std::uint64_t kEventBurst = 500;

std::uint64_t now_ms() noexcept {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace

Assigned::Assigned(const Parts& parts, Hooks hooks)
    : hooks_{std::move(hooks)},
      pages_{parts.memory, hooks_.failed},
      service_{pages_, *this},
      device_{parts.memory, service_},
      budget_{kEventsPerSecond, kEventBurst, TokenBucket::Clock::now()} {}

// While all that hears of it is there.
Assigned::~Assigned() { service_.reset(); }

Result<std::unique_ptr<Assigned>> Assigned::create(const Parts& parts,
                                                   std::span<const vmm::DeviceShape> shapes,
                                                   std::vector<vmm::DeviceFds> fds, std::uint8_t slot,
                                                   Hooks hooks) {
    check(shapes.size() == fds.size(), "a device without its descriptors");
    std::unique_ptr<Assigned> all{new Assigned{parts, std::move(hooks)}};
    all->transport_ =
        HF_TRY(virtio::PciTransport::create(all->device_, parts.memory, parts.interrupts, parts.doorbells,
                                            {.attend = [self = all.get()] { self->answer(); }}));
    HF_TRY(parts.pci.add(slot, *all->transport_));
    for (std::size_t i = 0; i < shapes.size(); ++i)
        HF_TRY(all->add(parts, shapes[i], std::move(fds[i]), ++slot));
    return all;
}

Result<void> Assigned::add(const Parts& parts, const vmm::DeviceShape& shape, vmm::DeviceFds fds,
                           std::uint8_t slot) {
    Unit unit{.endpoint = boot::endpoint_id(slot),
              .space = HF_TRY(iommu::host::Type1Space::create(std::move(fds.container))),
              .function = {},
              .group = std::move(fds.group),
              .domain = {}};
    auto device = HF_TRY(iommu::host::Device::create(std::move(fds.device)));
    std::optional<irq::LevelLine> line;
    if (shape.intx) line = HF_TRY(parts.lines.create_level_line(boot::line_gsi(slot)));
    unit.function = HF_TRY(Function::create(std::move(device), shape.address,
                                            {.interrupts = parts.interrupts, .slots = parts.slots},
                                            std::move(line), hooks_.failed));
    HF_TRY(parts.pci.add(slot, *unit.function));
    service_.add_endpoint(unit.endpoint, *unit.space, shape.rule,
                          {.max_mappings = shape.max_mappings, .max_bytes = shape.max_bytes});
    addresses_.push_back(shape.address);
    units_.push_back(std::move(unit));
    return {};
}

/// What the driver kicks for is in the queue already, and one run takes all of it.
void Assigned::answer() noexcept {
    const Lock hold{answering_};
    transport_->settle();
    transport_->run();
    transport_->publish();
}

void Assigned::shut_down() noexcept {
    for (const Unit& unit : units_) unit.function->shut_down();
}

void Assigned::moved(std::uint32_t endpoint, std::optional<std::uint32_t> domain,
                     std::uint64_t mappings) noexcept {
    for (Unit& unit : units_) {
        if (unit.endpoint != endpoint) continue;
        unit.inside = domain.has_value();
        if (domain) unit.domain = domain;
        // Off before the mappings go, on when they are there.
        unit.function->set_reachable(domain && mappings != 0);
    }
}

void Assigned::granted(std::uint32_t domain, const iommu::Mapping& mapping) noexcept {
    for (Unit& unit : units_) {
        if (unit.inside && unit.domain == domain) unit.function->set_reachable(true);
    }
    note(domain, {.kind = DeviceEvent::Kind::Granted,
                  .writable = mapping.access == iommu::Access::ReadWrite,
                  .iova = mapping.start.value(),
                  .size = mapping.size,
                  .target = mapping.target.value()});
}

void Assigned::refused(std::uint32_t domain, const iommu::Mapping& wanted, iommu::Refusal why) noexcept {
    note(domain, {.kind = DeviceEvent::Kind::Refused,
                  .why = static_cast<std::uint8_t>(why),
                  .writable = wanted.access == iommu::Access::ReadWrite,
                  .iova = wanted.start.value(),
                  .size = wanted.size,
                  .target = wanted.target.value()});
}

void Assigned::revoked(std::uint32_t domain, iommu::IovaRange range, std::uint64_t mappings) noexcept {
    if (mappings == 0) return;
    note(domain, {.kind = DeviceEvent::Kind::Revoked,
                  .iova = range.first.value(),
                  .size = range.last.value() - range.first.value() + 1});
}

void Assigned::lost() noexcept {
    // Nothing is waited for: the devices are cut off, and the VM ends.
    for (const Unit& unit : units_) unit.function->shut_down();
    hooks_.failed({Fault::Os, 0, "the host's IOMMU did not take a mapping back"});
}

void Assigned::note(std::uint32_t domain, DeviceEvent event) noexcept {
    const auto unit = std::ranges::find_if(units_, [&](const Unit& u) { return u.domain == domain; });
    if (unit == units_.end()) return;
    event.device = static_cast<std::uint8_t>(unit - units_.begin());
    event.at_ms = now_ms();
    {
        const Lock hold{events_lock_};
        if (events_.size() >= kEventBurst || budget_.take(1, TokenBucket::Clock::now()) == 0) {
            ++left_out_;
            return;
        }
        events_.push_back(event);
    }
    hooks_.happened();
}

Assigned::Events Assigned::take_events() {
    Events taken;
    const Lock hold{events_lock_};
    const auto count = std::min(events_.size(), vmm::kMaxDeviceEvents);
    const auto end = events_.begin() + static_cast<std::ptrdiff_t>(count);
    taken.events.assign(events_.begin(), end);
    events_.erase(events_.begin(), end);
    // Told with the next that is told.
    if (count != 0) taken.left_out = std::exchange(left_out_, 0);
    return taken;
}

Result<std::optional<iommu::Mapping>> Assigned::find(std::string_view address, iommu::Iova iova) const {
    const auto found = std::ranges::find(addresses_, address);
    if (found == addresses_.end()) return input_error("the VM has no such device");
    return service_.find(units_[static_cast<std::size_t>(found - addresses_.begin())].endpoint, iova);
}

}  // namespace holdfast::vfio
