// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-io, and the one thing holdfast-io may ask of it later:
// messages on the handover socket (SEQPACKET, descriptor 3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::io {

enum class NetKind : std::uint8_t {
    Tap = 1,  ///< one frame a read/write, IFF_TAP | IFF_NO_PI, no vnet header
    Passt,    ///< stream socket, each frame behind its length (32 bits, big-endian): passt(1) --fd
};

struct Disk {
    UniqueFd file;  ///< O_DIRECT already set where `direct`
    std::uint64_t size_bytes = 0;
    bool read_only = false;
    bool direct = false;
};

struct LaunchConfig {
    UniqueFd memory;       ///< as vmm::LaunchFds
    UniqueFd requests;
    UniqueFd completions;
    UniqueFd console_guest;     ///< stream socket to holdfast-vmm
    UniqueFd console_listener;  ///< Unix socket where `holdfast console` connects; one client at a time
    UniqueFd console_client;    ///< optional: the first client, already connected
    UniqueFd console_log;       ///< append-only file, kept within kMaxConsoleLog bytes
    std::vector<Disk> disks;
    UniqueFd net;  ///< optional
    NetKind net_kind = NetKind::Tap;
    UniqueFd vsock_listener;  ///< optional: the Unix socket that takes `CONNECT <port>` lines
    std::uint32_t vsock_cid = 0;
};

inline constexpr std::uint64_t kMaxConsoleLog = 4ULL << 20;

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config);
Result<LaunchConfig> receive_launch(const UniqueFd& socket);

/// From holdfast-io to the command line.
struct Ready {};
struct VsockConnect {
    std::uint32_t token = 0;  ///< comes back with the answer
    std::uint32_t port = 0;   ///< connect to the Unix socket PATH_<port> and send the descriptor back
};
struct Failed {
    std::string detail;  ///< one line for people; no guest bytes. holdfast-io exits after it
};

}  // namespace holdfast::io
