// SPDX-License-Identifier: Apache-2.0
// The device policy as a file.
#pragma once

#include <string>

#include "iommu/policy.hpp"

namespace holdfast::cli {

/// TOML 1.0 with one [[device]] a rule. An empty path means /etc/holdfast/devices.toml, where no file is a
/// policy without rules. Throws HF-0701.
[[nodiscard]] iommu::Policy read_device_policy(const std::string& path);

}  // namespace holdfast::cli
