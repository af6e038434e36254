// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/send.hpp"

#include <cerrno>

#include <poll.h>
#include <sys/socket.h>

namespace holdfast::vtpm::channel {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

Result<void> send_within(const UniqueFd& socket, std::span<const std::byte> bytes, milliseconds limit) {
    steady_clock::time_point deadline{};  // set when it is first needed
    while (!bytes.empty()) {
        const ssize_t n = ::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(n));
            continue;
        }
        if (n < 0 && errno == EINTR) continue;
        if (n == 0 || errno != EAGAIN) return Error{Fault::Peer, n < 0 ? errno : 0, "send an answer"};
        const auto now = steady_clock::now();
        if (deadline == steady_clock::time_point{}) deadline = now + limit;
        const auto left = std::chrono::ceil<milliseconds>(deadline - now).count();
        if (left <= 0) return peer_fault("a client does not take its answers");
        pollfd poll{.fd = socket.get(), .events = POLLOUT, .revents = 0};
        ::poll(&poll, 1, static_cast<int>(left));
    }
    return {};
}

}  // namespace holdfast::vtpm::channel
