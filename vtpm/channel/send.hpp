// SPDX-License-Identifier: Apache-2.0
// Sends to a client that may not be reading.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "sys/fd.hpp"

namespace holdfast::vtpm::channel {

/// All of `bytes` to a stream socket, blocking or not. A client that does not take them in time, or has
/// gone, is a Peer error.
Result<void> send_within(const UniqueFd& socket, std::span<const std::byte> bytes,
                         std::chrono::milliseconds limit);

}  // namespace holdfast::vtpm::channel
