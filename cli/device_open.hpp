// SPDX-License-Identifier: Apache-2.0
// Handing devices of the host to a VM: judged by the policy first, opened then.
#pragma once

#include <string>
#include <vector>

#include "cli/shape.hpp"
#include "iommu/policy.hpp"
#include "vmm/launch.hpp"

namespace holdfast::cli {

struct AllowedDevice {
    std::size_t rule = 0;  ///< of the policy
    unsigned group = 0;
    std::string driver;  ///< the host's; empty: none
};

/// Judges one device; nothing is opened. A refusal is written into the audit log. Throws HF-0702, HF-0703.
[[nodiscard]] AllowedDevice allow_device(const iommu::Policy& policy, const std::string& address,
                                         const std::string& state_dir);

/// Judges every device of the shape; nothing is opened. A refusal is written into the audit log. Throws
/// HF-0701 to HF-0705.
[[nodiscard]] std::vector<vmm::DeviceShape> admit_devices(const Shape& shape, const std::string& state_dir);

/// Opens a device for one boot of the guest, after it was judged once more: the host may have changed. The
/// audit log says so before. Whoever keeps one of the descriptors keeps pinned what the device reaches.
/// Throws as admit_devices(), and HF-0706.
[[nodiscard]] vmm::DeviceFds open_device(const Shape& shape, const std::string& address,
                                         const std::string& state_dir);

}  // namespace holdfast::cli
