// SPDX-License-Identifier: Apache-2.0
// Unix sockets between our own processes: pairs, and messages that carry descriptors (unix(7),
// SCM_RIGHTS).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include "sys/fd.hpp"

namespace holdfast {

/// Two connected ends. `type` is SOCK_STREAM or SOCK_SEQPACKET.
Result<std::pair<UniqueFd, UniqueFd>> socket_pair(int type);

/// Listens at `path` (mode 0600); an existing file there is an error, never replaced. `type` as above.
Result<UniqueFd> listen_unix(const std::string& path, int type = SOCK_STREAM);
Result<UniqueFd> connect_unix(const std::string& path, int type = SOCK_STREAM);
/// Takes one waiting client (non-blocking, CLOEXEC). EAGAIN comes back as an Os error.
Result<UniqueFd> accept_unix(const UniqueFd& listener);

inline constexpr std::size_t kMaxMessageFds = 64;

struct Message {
    std::vector<std::byte> bytes;  ///< empty: the peer has closed its end
    std::vector<UniqueFd> fds;
};

/// One SEQPACKET message; the descriptors stay the caller's (the peer gets copies).
Result<void> send_message(const UniqueFd& socket, std::span<const std::byte> bytes,
                          std::span<const int> fds = {});
/// One message of at most `max_bytes` (longer, or with more than kMaxMessageFds descriptors: Peer
/// error, nothing leaks). Received descriptors are CLOEXEC.
Result<Message> receive_message(const UniqueFd& socket, std::size_t max_bytes);

}  // namespace holdfast
