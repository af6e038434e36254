// SPDX-License-Identifier: Apache-2.0
// A program's part in a group: what it says goes to all others, what they say comes to it.
#pragma once

#include <string>
#include <vector>

#include "guest_agent/agent/board.hpp"
#include "guest_agent/agent/door.hpp"
#include "guest_agent/group/talk.hpp"

namespace holdfast::agent {

/// Stand where else a member's name does: "- bob" says that bob has gone, "+ bob" that he is there now.
inline constexpr std::string_view kGone = "-";
inline constexpr std::string_view kCame = "+";

/// Until `program` (a path and arguments) ends; then the others are told. It hears who goes, and the end of
/// its input when nobody else is left. With a `door` others may join: it hears first who is there, then who
/// comes, and no end. `members`: all names, its own among them.
Result<void> converse(Board& board, Door* door, group::Talk talk, const std::vector<std::string>& members,
                      const std::vector<std::string>& program);

}  // namespace holdfast::agent
