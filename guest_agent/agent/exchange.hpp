// SPDX-License-Identifier: Apache-2.0
// Two programs on one attested channel, each on its side.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "guest_agent/channel/channel.hpp"

namespace holdfast::agent {

/// Until both programs have said and heard all. The client renews the channel each `renewal`.
Result<void> exchange(channel::Channel& channel, const std::vector<std::string>& program,
                      std::chrono::seconds renewal);

}  // namespace holdfast::agent
