// SPDX-License-Identifier: Apache-2.0
// One guest at the broker: TLS 1.3, a challenge of its own, and what it asks for. Bounded in time, in the
// size of a message, and in the number of them.
#pragma once

#include <string>

#include "cli/broker_judge.hpp"
#include "guest_agent/channel/tls.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

/// Throws HF-0110.
[[nodiscard]] agent::channel::TlsIdentity read_identity(const std::string& certificate,
                                                        const std::string& key);

/// Serves one client to its end. `socket` is non-blocking, and whoever shuts it down ends this.
void serve_guest(const UniqueFd& socket, const std::string& peer, const agent::channel::TlsIdentity& own,
                 BrokerJudge& judge);

}  // namespace holdfast::cli
