// SPDX-License-Identifier: Apache-2.0
// Stream sockets between a guest and its host (vsock(7)).
#pragma once

#include <cstdint>

#include "sys/fd.hpp"

namespace holdfast::agent {

/// Non-blocking, for connections of the host only: accept_host() refuses any other peer.
Result<UniqueFd> listen_vsock(std::uint32_t port);
/// A waiting connection of the host, non-blocking. EAGAIN comes back as an Os error.
Result<UniqueFd> accept_host(const UniqueFd& listener);
/// Blocking.
Result<UniqueFd> connect_host(std::uint32_t port);

}  // namespace holdfast::agent
