// SPDX-License-Identifier: Apache-2.0
// holdfast-vtpm opens no path. So whoever launched it keeps a door to this host's anchor: each message on
// it is answered with a connection, as soon as an anchor serves.
#pragma once

#include <string>
#include <thread>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// A thread that ends when the other end of the door is closed; whoever destroys this has closed it.
class AnchorDoor {
public:
    AnchorDoor() = default;
    /// `ours`: SEQPACKET. `path`: the anchor's socket.
    AnchorDoor(UniqueFd ours, std::string path);

private:
    std::jthread thread_;
};

}  // namespace holdfast::cli
