// SPDX-License-Identifier: Apache-2.0
// `holdfast-agent blob put|get`: what the host keeps for this guest, sealed.
#pragma once

#include <span>

#include "sys/result.hpp"

namespace holdfast::agent {

/// put NAME VERSION KEYFILE <plain, or get NAME OLDEST KEYFILE >plain. The key file has 32 bytes that only
/// guests have.
Result<void> blob_verb(std::span<char*> words);

}  // namespace holdfast::agent
