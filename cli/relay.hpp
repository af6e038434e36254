// SPDX-License-Identifier: Apache-2.0
// A guest's way to its broker and to another guest: bytes to one address and back. TLS ends in the guest and
// in the other end, so whoever carries can read nothing and change nothing.
#pragma once

#include <string>

#include <netinet/in.h>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// Connects and carries, until one of the two ends it, is silent for too long, or does not take what comes.
Result<void> carry_to_broker(const UniqueFd& guest, sockaddr_in broker);
/// The same to the port of another guest at which holdfast-agent channel listens; silence may last.
Result<void> carry_to_guest(const UniqueFd& guest, const std::string& vsock);

}  // namespace holdfast::cli
