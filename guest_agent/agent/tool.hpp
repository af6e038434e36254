// SPDX-License-Identifier: Apache-2.0
// Programs of Debian's cryptsetup, which `holdfast image` puts beside the agent. Keys and tokens go through
// pipes: none is in an argument or a file.
#pragma once

#include <string>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/process.hpp"

namespace holdfast::agent {

inline constexpr const char* kCryptsetup = "/sbin/cryptsetup";
inline constexpr const char* kVeritysetup = "/sbin/veritysetup";

struct ToolRun {
    Ending ending;
    std::string output;
};

/// To its end. What it says on standard error goes to the console; what it says else is bounded.
Result<ToolRun> run_tool(const char* tool, const std::vector<std::string>& arguments, Bytes input);
/// An Input error, `otherwise`, if it fails.
Result<void> run_tool_well(const char* tool, const std::vector<std::string>& arguments, Bytes input,
                           const char* otherwise);

}  // namespace holdfast::agent
