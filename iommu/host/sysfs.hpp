// SPDX-License-Identifier: Apache-2.0
// PCI devices as Linux shows them (Documentation/ABI/testing/sysfs-bus-pci, sysfs-kernel-iommu_groups), and
// which driver has them.
#pragma once

#include <string>
#include <vector>

#include "iommu/facts.hpp"
#include "sys/result.hpp"

namespace holdfast::iommu::host {

class Sysfs {
public:
    /// `root` is put before /sys and /proc: for tests.
    explicit Sysfs(std::string root = "") : root_{std::move(root)} {}

    /// Addresses of all PCI devices, ascending; without bridges.
    [[nodiscard]] std::vector<std::string> devices() const;
    /// ENOENT if there is no such device.
    [[nodiscard]] Result<DeviceFacts> facts(const std::string& address) const;

    /// Takes the device from its driver and gives it to vfio-pci. On failure its driver is asked to take it
    /// back. Nobody else's id tables are changed (no new_id).
    [[nodiscard]] Result<void> bind(const std::string& address) const;
    /// Gives it back to whichever driver of the host wants it; none is no error.
    [[nodiscard]] Result<void> unbind(const std::string& address) const;

private:
    [[nodiscard]] std::string device(const std::string& address) const;
    [[nodiscard]] std::string driver_of(const std::string& address) const;
    [[nodiscard]] bool is_bridge(const std::string& address) const;
    void read_group(DeviceFacts& facts) const;
    void read_capabilities(DeviceFacts& facts) const;
    [[nodiscard]] Result<void> leave_driver(const std::string& address) const;

    std::string root_;
};

}  // namespace holdfast::iommu::host
