// SPDX-License-Identifier: Apache-2.0
// A program's part in a group: what it says goes to all others, what they say comes to it.
#pragma once

#include <string>
#include <vector>

#include "guest_agent/agent/board.hpp"
#include "guest_agent/group/talk.hpp"

namespace holdfast::agent {

/// Stands where else a member's name does: "- bob" says that bob has gone.
inline constexpr std::string_view kNotice = "-";

/// Until `program` (a path and arguments) ends; then the others are told. It hears who goes, and the end of
/// its input when nobody else is left. `members`: all names, its own among them.
Result<void> converse(Board& board, group::Talk talk, const std::vector<std::string>& members,
                      const std::vector<std::string>& program);

}  // namespace holdfast::agent
