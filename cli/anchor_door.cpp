// SPDX-License-Identifier: Apache-2.0
#include "cli/anchor_door.hpp"

#include <array>

#include <poll.h>

#include "sys/socket.hpp"

namespace holdfast::cli {
namespace {

// How soon a vTPM that pauses notices that the anchor is back.
constexpr int kRetryMs = 50;

/// None: nobody wants it any more.
UniqueFd connect_once_it_serves(const UniqueFd& door, const std::string& path) {
    while (true) {
        if (auto anchor = connect_unix(path, SOCK_SEQPACKET)) return std::move(*anchor);
        pollfd wanted{.fd = door.get(), .events = POLLRDHUP, .revents = 0};
        if (::poll(&wanted, 1, kRetryMs) > 0) return {};
    }
}

void keep_door(const UniqueFd& door, const std::string& path) {
    while (true) {
        const auto asked = receive_message(door, 1);
        if (!asked || asked->bytes.empty()) return;
        const UniqueFd anchor = connect_once_it_serves(door, path);
        if (!anchor || !send_message(door, asked->bytes, std::array{anchor.get()})) return;
    }
}

}  // namespace

AnchorDoor::AnchorDoor(UniqueFd ours, std::string path)
    : thread_{[door = std::move(ours), path = std::move(path)] { keep_door(door, path); }} {}

}  // namespace holdfast::cli
