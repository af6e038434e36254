// SPDX-License-Identifier: Apache-2.0
// The guest's own TPM, through the kernel's resource manager.
#pragma once

#include "guest_agent/keystore/commands.hpp"

namespace holdfast::agent {

inline constexpr const char* kTpmDevice = "/dev/tpmrm0";

/// Commands over one open descriptor, so that what is loaded stays loaded in between.
[[nodiscard]] Result<keystore::RunCommand> open_tpm(const char* path = kTpmDevice);

}  // namespace holdfast::agent
