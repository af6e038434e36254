// SPDX-License-Identifier: Apache-2.0
// The user's program, as a child of the agent on the console.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "sys/result.hpp"

namespace holdfast::agent {

/// Starts it in a session of its own with the console as its terminal, a plain environment, and no descriptor
/// beyond the three. Returns its pid; whoever reaps children hears of its end. A program that cannot be
/// executed ends with status 127.
Result<pid_t> start_program(const std::string& path, const std::vector<std::string>& arguments);

/// The exit status, or 128 and the signal, as a shell says it.
[[nodiscard]] int status_of(int wait_status) noexcept;

}  // namespace holdfast::agent
