// SPDX-License-Identifier: Apache-2.0
#include "cli/relay.hpp"

#include <array>
#include <cerrno>

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/guest_port.hpp"
#include "cli/inet_address.hpp"
#include "guest_agent/call/services.hpp"

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

Result<void> carry(const UniqueFd& guest, const UniqueFd& other, int most_silence_ms) {
    for (;;) {
        std::array both{pollfd{.fd = guest.get(), .events = POLLIN, .revents = 0},
                        pollfd{.fd = other.get(), .events = POLLIN, .revents = 0}};
        const int ready = ::poll(both.data(), both.size(), most_silence_ms);
        if (ready < 0) return os_error("poll");
        if (ready == 0) return Error{Fault::Os, ETIMEDOUT, "wait for a guest and its other side"};
        if (both[0].revents != 0 && !HF_TRY(carry_some(guest, other))) return {};
        if (both[1].revents != 0 && !HF_TRY(carry_some(other, guest))) return {};
    }
}

}  // namespace

Result<void> carry_to_broker(const UniqueFd& guest, sockaddr_in broker) {
    const UniqueFd socket{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (!socket) return os_error("socket");
    HF_TRY(bound_sends(socket));
    HF_TRY(bound_sends(guest));
    if (::connect(socket.get(), generic(broker), sizeof broker) < 0) return os_error("connect to the broker");
    return carry(guest, socket, kMostSilenceMs);
}

Result<void> carry_to_guest(const UniqueFd& guest, const std::string& vsock) {
    const UniqueFd socket = HF_TRY(connect_guest(vsock, agent::call::kChannelPort));
    HF_TRY(bound_sends(socket));
    HF_TRY(bound_sends(guest));
    return carry(guest, socket, -1);
}

}  // namespace holdfast::cli
