// SPDX-License-Identifier: Apache-2.0
// One PCI device through its VFIO descriptor, the same for both ways of opening it: registers, interrupts,
// reset, and whether it may master the bus. (Linux Documentation/driver-api/vfio.rst; PCI 3.0 §6.2.2.)
#pragma once

#include <cstdint>
#include <span>

#include "iommu/host/kernel.hpp"

namespace holdfast::iommu::host {

/// VFIO's numbers of regions: 0..5 are BARs.
inline constexpr std::uint32_t kConfigRegion = 7;

struct Region {
    std::uint64_t size = 0;    ///< 0: there is none
    std::uint64_t offset = 0;  ///< in the device's file
    bool mappable = false;
};

enum class BusMaster : std::uint8_t { Off, On };
enum class Interrupts : std::uint8_t { Intx, Msi, Msix };

class Device {
public:
    /// Takes a device that is in an address space. Its bus mastering is off then, whatever it was. A device
    /// without a reset is an Input error: what its last owner left in it could not be wiped.
    static Result<Device> create(UniqueFd device, Kernel& kernel = Kernel::real());

    [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }
    Result<Region> region(std::uint32_t index) const;
    /// Copies between a region and `bytes`; outside of it is a guest fault.
    Result<void> read(const Region& region, std::uint64_t offset, std::span<std::byte> bytes) const;
    Result<void> write(const Region& region, std::uint64_t offset, std::span<const std::byte> bytes) const;

    /// Configuration space as the kernel shows it.
    Result<void> read_config(std::uint64_t offset, std::span<std::byte> bytes) const {
        return read(config_, offset, bytes);
    }
    /// Lets the device answer in its memory BARs. A reset puts this back as it was.
    Result<void> enable_memory() const;

    /// How many vectors of this kind it has (of Intx: lines); 0: none.
    [[nodiscard]] Result<std::uint32_t> vectors(Interrupts kind) const;
    /// From now on the device's vectors 0, 1, ... signal these eventfds (at most kMostVectors), which the
    /// kernel keeps. Interrupts of this kind (of messages) are on then, and of the other kinds must be off.
    static constexpr std::size_t kMostVectors = 64;
    Result<void> connect_vectors(Interrupts kind, std::span<const int> eventfds) const;
    /// The same for its line: when it is asserted, `raised` is signalled and the line masked, until `ended`
    /// is signalled.
    Result<void> connect_line(int raised, int ended) const;
    /// Interrupts of this kind are off.
    Result<void> disconnect(Interrupts kind) const;

    Result<void> set_bus_master(BusMaster wanted) const;
    [[nodiscard]] Result<bool> is_bus_master() const;
    /// Bus mastering off, reset, and off again: the kernel's reset puts back what was before.
    Result<void> reset() const;

private:
    Result<void> set_command(std::uint16_t bit, bool wanted) const;
    Result<void> set_events(Interrupts kind, std::uint32_t action, std::span<const int> eventfds) const;
    Device(UniqueFd fd, Kernel& kernel) noexcept : fd_{std::move(fd)}, kernel_{&kernel} {}

    UniqueFd fd_;
    Kernel* kernel_;
    Region config_;
};

}  // namespace holdfast::iommu::host
