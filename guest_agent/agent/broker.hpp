// SPDX-License-Identifier: Apache-2.0
// A guest's side of docs/broker.md: asks for one secret, on a connection to the broker whose key is pinned.
#pragma once

#include <functional>
#include <string_view>

#include "guest_agent/channel/tls.hpp"

namespace holdfast::agent {

/// Makes evidence for a binding.
using MakeEvidence = std::function<Result<std::vector<std::byte>>(const Digest256& binding)>;

/// What the broker refuses is an Input error; its reasons are logged.
Result<SecretBuffer> ask_broker(channel::TlsStream& broker, const channel::TlsIdentity& own,
                                std::string_view secret, const MakeEvidence& make,
                                channel::Deadline deadline);

}  // namespace holdfast::agent
