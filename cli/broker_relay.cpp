// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_relay.hpp"

#include <array>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/inet_address.hpp"

namespace holdfast::cli {
namespace {

constexpr int kMostSilenceMs = 120'000;  // a broker gives a guest no longer (docs/broker.md)
constexpr timeval kMostWait{.tv_sec = 10, .tv_usec = 0};
constexpr std::size_t kChunk = 16U << 10;

/// Also bounds connect(), by socket(7).
Result<void> bound_sends(const UniqueFd& socket) {
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kMostWait, sizeof kMostWait) == 0) return {};
    return os_error("SO_SNDTIMEO");
}

/// False: that side has ended it.
Result<bool> carry_some(const UniqueFd& from, const UniqueFd& to) {
    std::array<std::byte, kChunk> bytes{};
    const ssize_t got = ::read(from.get(), bytes.data(), bytes.size());
    if (got < 0) return os_error("read what is to be carried");
    if (got == 0) return false;
    HF_TRY(write_all(to, std::span{bytes}.first(static_cast<std::size_t>(got))));
    return true;
}

}  // namespace

Result<void> carry_to_broker(const UniqueFd& guest, sockaddr_in broker) {
    const UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!socket) return os_error("socket");
    HF_TRY(bound_sends(socket));
    HF_TRY(bound_sends(guest));
    if (::connect(socket.get(), generic(broker), sizeof broker) < 0) return os_error("connect to the broker");
    for (;;) {
        std::array both{pollfd{.fd = guest.get(), .events = POLLIN, .revents = 0},
                        pollfd{.fd = socket.get(), .events = POLLIN, .revents = 0}};
        const int ready = ::poll(both.data(), both.size(), kMostSilenceMs);
        if (ready < 0) return os_error("poll");
        if (ready == 0) return Error{Fault::Os, ETIMEDOUT, "wait for guest and broker"};
        if (both[0].revents != 0 && !HF_TRY(carry_some(guest, socket))) return {};
        if (both[1].revents != 0 && !HF_TRY(carry_some(socket, guest))) return {};
    }
}

}  // namespace holdfast::cli
