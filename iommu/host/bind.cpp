// SPDX-License-Identifier: Apache-2.0
// Handing a device from one driver to another: driver_override, so that vfio-pci gets this device and no
// other.
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <unistd.h>

#include "iommu/host/sysfs.hpp"
#include "sys/fd.hpp"

namespace holdfast::iommu::host {
namespace {

Result<void> write_file(const std::string& path, const std::string& text, const char* what) {
    const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    if (!file) return os_error(what);
    // One write: the kernel takes each as a whole request.
    if (::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()))
        return os_error(what);
    return {};
}

}  // namespace

Result<void> Sysfs::leave_driver(const std::string& address) const {
    if (driver_of(address).empty()) return {};
    return write_file(device(address) + "/driver/unbind", address, "take the device from its driver");
}

Result<void> Sysfs::bind(const std::string& address) const {
    if (!is_pci_address(address)) return input_error("not a PCI address like 0000:01:00.0");
    std::error_code error;
    if (!std::filesystem::exists(root_ + "/sys/bus/pci/drivers/vfio-pci", error)) {
        return input_error("the kernel has no vfio-pci: modprobe vfio-pci");
    }
    if (driver_of(address) == "vfio-pci") return {};
    HF_TRY(write_file(device(address) + "/driver_override", "vfio-pci", "choose vfio-pci for the device"));
    auto taken = leave_driver(address);
    if (taken) {
        taken = write_file(root_ + "/sys/bus/pci/drivers_probe", address, "give the device to vfio-pci");
    }
    if (taken && driver_of(address) == "vfio-pci") return {};
    static_cast<void>(unbind(address));
    if (!taken) return taken.error();
    return Error{Fault::Os, ENODEV, "give the device to vfio-pci"};
}

Result<void> Sysfs::unbind(const std::string& address) const {
    if (!is_pci_address(address)) return input_error("not a PCI address like 0000:01:00.0");
    HF_TRY(write_file(device(address) + "/driver_override", "\n", "give up the choice of a driver"));
    if (driver_of(address) == "vfio-pci") HF_TRY(leave_driver(address));
    if (!driver_of(address).empty()) return {};
    return write_file(root_ + "/sys/bus/pci/drivers_probe", address,
                      "offer the device to the host's drivers");
}

}  // namespace holdfast::iommu::host
