// SPDX-License-Identifier: Apache-2.0
// A port of a guest's vsock, from the host's side: the Unix socket of run --vsock CID=PATH.
#pragma once

#include <cstdint>
#include <string>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// The lines of --vsock: CONNECT to the guest's port, and OK back.
Result<UniqueFd> connect_guest(const std::string& vsock, std::uint32_t port);

}  // namespace holdfast::cli
