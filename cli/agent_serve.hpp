// SPDX-License-Identifier: Apache-2.0
// holdfast agent serve: what a guest asks its host for. It believes nothing of what is said here, and nothing
// of what it says is believed.
#pragma once

#include <string>

#include "cli/options.hpp"

namespace holdfast::cli {

/// Until a signal. Throws.
int serve_guest_calls(const AgentOptions& options, const std::string& state_dir);

}  // namespace holdfast::cli
