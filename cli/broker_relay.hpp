// SPDX-License-Identifier: Apache-2.0
// A guest's way to its broker: bytes to one TCP address and back. TLS ends in the guest and in the broker, so
// whoever carries can read nothing and change nothing.
#pragma once

#include <netinet/in.h>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// Connects and carries, until one of the two ends it, is silent for too long, or does not take what comes.
Result<void> carry_to_broker(const UniqueFd& guest, sockaddr_in broker);

}  // namespace holdfast::cli
