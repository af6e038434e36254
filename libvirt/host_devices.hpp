// SPDX-License-Identifier: Apache-2.0
// Which devices of the host a domain's XML asks for: <hostdev>, and the interfaces and NVMe disks that are
// devices of the host. What <qemu:commandline> may ask for besides is not looked at.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::libvirt {

struct HostDevices {
    std::vector<std::string> pci;       ///< by address: 0000:01:00.0
    std::vector<std::string> mediated;  ///< parts of a device, by UUID
};

/// `xml` is what libvirt hands to a hook. Whoever wrote the domain may have put anything into its metadata.
/// Input error: it is not well formed as far as it was looked at, or an address is none.
[[nodiscard]] Result<HostDevices> host_devices_in(std::string_view xml);

}  // namespace holdfast::libvirt
