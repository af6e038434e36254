// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/device.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>

#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <unistd.h>

#include "sys/wire/endian.hpp"

namespace holdfast::iommu::host {
namespace {

bool outside(const Region& region, std::uint64_t offset, std::size_t size) noexcept {
    return offset > region.size || size > region.size - offset;
}

std::uint32_t index_of(Interrupts kind) noexcept {
    switch (kind) {
        case Interrupts::Intx: return VFIO_PCI_INTX_IRQ_INDEX;
        case Interrupts::Msi: return VFIO_PCI_MSI_IRQ_INDEX;
        case Interrupts::Msix: break;
    }
    return VFIO_PCI_MSIX_IRQ_INDEX;
}

}  // namespace

Result<Device> Device::create(UniqueFd fd, Kernel& kernel) {
    vfio_device_info info{};
    info.argsz = sizeof info;
    HF_TRY(kernel.ask(fd, HF_IOMMU_REQUEST(VFIO_DEVICE_GET_INFO), &info));
    if ((info.flags & VFIO_DEVICE_FLAGS_PCI) == 0) return input_error("not a PCI device");
    if ((info.flags & VFIO_DEVICE_FLAGS_RESET) == 0) return input_error("the device cannot be reset");
    Device device{std::move(fd), kernel};
    device.config_ = HF_TRY(device.region(kConfigRegion));
    HF_TRY(device.set_bus_master(BusMaster::Off));
    return device;
}

Result<Region> Device::region(std::uint32_t index) const {
    vfio_region_info info{};
    info.argsz = sizeof info;
    info.index = index;
    HF_TRY(kernel_->ask(fd_, HF_IOMMU_REQUEST(VFIO_DEVICE_GET_REGION_INFO), &info));
    return Region{
        .size = info.size, .offset = info.offset, .mappable = (info.flags & VFIO_REGION_INFO_FLAG_MMAP) != 0};
}

Result<void> Device::read(const Region& region, std::uint64_t offset, std::span<std::byte> bytes) const {
    if (outside(region, offset, bytes.size())) return guest_fault("outside of the device's region");
    const auto at = static_cast<off_t>(region.offset + offset);
    const ssize_t got = ::pread(fd_.get(), bytes.data(), bytes.size(), at);
    if (got < 0) return os_error("read a device's region");
    if (static_cast<std::size_t>(got) != bytes.size()) return Error{Fault::Os, EIO, "read a device's region"};
    return {};
}

Result<void> Device::write(const Region& region, std::uint64_t offset,
                           std::span<const std::byte> bytes) const {
    if (outside(region, offset, bytes.size())) return guest_fault("outside of the device's region");
    const auto at = static_cast<off_t>(region.offset + offset);
    const ssize_t put = ::pwrite(fd_.get(), bytes.data(), bytes.size(), at);
    if (put < 0) return os_error("write a device's region");
    if (static_cast<std::size_t>(put) != bytes.size())
        return Error{Fault::Os, EIO, "write a device's region"};
    return {};
}

Result<bool> Device::is_bus_master() const {
    Le<std::uint16_t> command{};
    HF_TRY(read(config_, PCI_COMMAND, std::as_writable_bytes(std::span{&command, 1})));
    return (command.get() & PCI_COMMAND_MASTER) != 0;
}

Result<void> Device::set_command(std::uint16_t bit, bool wanted) const {
    Le<std::uint16_t> command{};
    HF_TRY(read(config_, PCI_COMMAND, std::as_writable_bytes(std::span{&command, 1})));
    const unsigned rest = command.get() & ~unsigned{bit};
    command = Le<std::uint16_t>{static_cast<std::uint16_t>(rest | (wanted ? unsigned{bit} : 0U))};
    return write(config_, PCI_COMMAND, std::as_bytes(std::span{&command, 1}));
}

Result<void> Device::enable_memory() const { return set_command(PCI_COMMAND_MEMORY, true); }

Result<std::uint32_t> Device::vectors(Interrupts kind) const {
    vfio_irq_info info{};
    info.argsz = sizeof info;
    info.index = index_of(kind);
    HF_TRY(kernel_->ask(fd_, HF_IOMMU_REQUEST(VFIO_DEVICE_GET_IRQ_INFO), &info));
    return info.count;
}

Result<void> Device::connect_vectors(Interrupts kind, std::span<const int> eventfds) const {
    if (eventfds.size() > kMostVectors) return input_error("too many interrupts of a device");
    return set_events(kind, VFIO_IRQ_SET_ACTION_TRIGGER, eventfds);
}

Result<void> Device::connect_line(int raised, int ended) const {
    HF_TRY(set_events(Interrupts::Intx, VFIO_IRQ_SET_ACTION_TRIGGER, std::span{&raised, 1}));
    const auto rearmed = set_events(Interrupts::Intx, VFIO_IRQ_SET_ACTION_UNMASK, std::span{&ended, 1});
    if (!rearmed) static_cast<void>(disconnect(Interrupts::Intx));
    return rearmed;
}

Result<void> Device::set_events(Interrupts kind, std::uint32_t action, std::span<const int> eventfds) const {
    // The kernel's struct ends in an array without a size.
    struct SetIrqs {
        std::uint32_t argsz, flags, index, start, count;
        std::array<int, kMostVectors> fds;
    };
    static_assert(offsetof(SetIrqs, fds) == sizeof(vfio_irq_set));
    SetIrqs request{.argsz = static_cast<std::uint32_t>(sizeof(vfio_irq_set) + eventfds.size_bytes()),
                    .flags = VFIO_IRQ_SET_DATA_EVENTFD | action,
                    .index = index_of(kind),
                    .start = 0,
                    .count = static_cast<std::uint32_t>(eventfds.size()),
                    .fds = {}};
    std::ranges::copy(eventfds, request.fds.begin());
    HF_TRY(kernel_->ask(fd_, HF_IOMMU_REQUEST(VFIO_DEVICE_SET_IRQS), &request));
    return {};
}

Result<void> Device::disconnect(Interrupts kind) const {
    vfio_irq_set request{};
    request.argsz = sizeof request;
    request.flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;
    request.index = index_of(kind);
    HF_TRY(kernel_->ask(fd_, HF_IOMMU_REQUEST(VFIO_DEVICE_SET_IRQS), &request));
    return {};
}

Result<void> Device::set_bus_master(BusMaster wanted) const {
    HF_TRY(set_command(PCI_COMMAND_MASTER, wanted == BusMaster::On));
    if (HF_TRY(is_bus_master()) != (wanted == BusMaster::On)) {
        return Error{Fault::Os, EIO, "change a device's bus mastering"};
    }
    return {};
}

Result<void> Device::reset() const {
    HF_TRY(set_bus_master(BusMaster::Off));
    HF_TRY(kernel_->ask(fd_, HF_IOMMU_REQUEST(VFIO_DEVICE_RESET), std::uintptr_t{0}));
    return set_bus_master(BusMaster::Off);
}

}  // namespace holdfast::iommu::host
