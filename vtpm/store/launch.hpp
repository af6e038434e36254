// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-store: one message on the handover socket.
#pragma once

#include "sys/fd.hpp"

namespace holdfast::vtpm::store {

struct LaunchFds {
    UniqueFd client;  ///< stream socket to holdfast-vtpm
    UniqueFd state;   ///< the state file, for reading and writing
};

Result<void> send_launch(const UniqueFd& socket, const LaunchFds& fds);
Result<LaunchFds> receive_launch(const UniqueFd& socket);

}  // namespace holdfast::vtpm::store
