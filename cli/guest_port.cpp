// SPDX-License-Identifier: Apache-2.0
#include "cli/guest_port.hpp"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "sys/socket.hpp"

namespace holdfast::cli {
namespace {

/// How long a read waits: a guest that is paused does not answer at all. Zero: for ever.
Result<void> bound_reads(const UniqueFd& socket, timeval most) {
    if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0) return {};
    return os_error("SO_RCVTIMEO");
}

}  // namespace

Result<UniqueFd> connect_guest(const std::string& vsock, std::uint32_t port) {
    UniqueFd stream = HF_TRY(connect_unix(vsock));
    const std::string hello = fmt::format("CONNECT {}\n", port);
    HF_TRY(bound_reads(stream, {.tv_sec = 10, .tv_usec = 0}));
    HF_TRY(write_all(stream, std::as_bytes(std::span{hello})));
    std::string line;
    for (char c = 0; c != '\n' && line.size() < 64; line += c) {
        if (::read(stream.get(), &c, 1) != 1) return peer_fault("nobody listens in the guest");
    }
    if (!line.starts_with("OK ")) return peer_fault("nobody listens in the guest");
    HF_TRY(bound_reads(stream, {}));
    return stream;
}

}  // namespace holdfast::cli
