// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-io, and the one thing holdfast-io may ask of it later:
// messages on the handover socket (SEQPACKET, descriptor 3).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::io {

enum class NetKind : std::uint8_t {
    Tap = 1,        ///< one frame a read/write, IFF_TAP | IFF_NO_PI, no vnet header
    TapWithHeader,  ///< the same behind a virtio_net_hdr of 10 bytes, as libvirt opens taps; without offloads
                    ///< it is all zero
    Passt,          ///< stream socket, each frame behind its length (32 bits, big-endian): passt(1) --fd
};

struct Disk {
    UniqueFd file;  ///< O_DIRECT already set where `direct`
    std::uint64_t size_bytes = 0;
    bool read_only = false;
    bool direct = false;
};

struct LaunchConfig {
    UniqueFd memory;  ///< as vmm::LaunchFds
    UniqueFd requests;
    UniqueFd completions;
    UniqueFd console_guest;     ///< stream socket to holdfast-vmm
    UniqueFd console_listener;  ///< Unix socket where `holdfast console` connects; one client at a time
    UniqueFd console_client;    ///< optional: the first client, already connected
    UniqueFd console_log;       ///< opened for reading and writing, kept within kMaxConsoleLog bytes
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
using Report = std::variant<Ready, VsockConnect, Failed>;

/// holdfast-io's end of the socket is non-blocking: EAGAIN when the command line is slow to read,
/// because a guest chooses how many connections it asks for.
Result<void> send_report(const UniqueFd& socket, const Report& report);
/// None: holdfast-io is gone without a word.
Result<std::optional<Report>> receive_report(const UniqueFd& socket);

/// The command line's answer to a VsockConnect.
struct VsockAnswer {
    std::uint32_t token = 0;
    UniqueFd stream;  ///< connected to PATH_<port>; empty: refused
};
Result<void> send_answer(const UniqueFd& socket, const VsockAnswer& answer);
/// None: the command line has closed its end.
Result<std::optional<VsockAnswer>> receive_answer(const UniqueFd& socket);

}  // namespace holdfast::io
