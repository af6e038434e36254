// SPDX-License-Identifier: Apache-2.0
// The header of every vsock packet that crosses between holdfast-vmm and holdfast-io: the guest's
// header (Virtio 1.2 §5.10.6) without the CIDs, which the VMM checks and fills in. Payload follows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "sys/wire/endian.hpp"

namespace holdfast::io {

/// At the start of each Send and Receive slot of kVsock. From the guest, `src_port` is the guest's
/// port; to the guest, it is the host's.
struct VsockPacket {
    Le<std::uint32_t> src_port;   //  0
    Le<std::uint32_t> dst_port;   //  4
    Le<std::uint32_t> len;        //  8, bytes of payload behind this header
    Le<std::uint32_t> flags;      // 12
    Le<std::uint32_t> buf_alloc;  // 16
    Le<std::uint32_t> fwd_cnt;    // 20
    Le<std::uint16_t> op;         // 24
    Le<std::uint16_t> type;       // 26
    Le<std::uint32_t> reserved;   // 28
};
static_assert(sizeof(VsockPacket) == 32 && alignof(VsockPacket) == 1);
static_assert(std::is_trivially_copyable_v<VsockPacket> && std::is_standard_layout_v<VsockPacket>);
static_assert(offsetof(VsockPacket, op) == 24);

/// Virtio 1.2 §5.10.6, "Device Operation", and §5.10.6.5, "Connected Sockets".
namespace vsock {
enum Op : std::uint16_t {
    OP_INVALID = 0,
    OP_REQUEST = 1,
    OP_RESPONSE = 2,
    OP_RST = 3,
    OP_SHUTDOWN = 4,
    OP_RW = 5,
    OP_CREDIT_UPDATE = 6,
    OP_CREDIT_REQUEST = 7,
};
inline constexpr std::uint16_t TYPE_STREAM = 1;
inline constexpr std::uint32_t SHUTDOWN_F_RECEIVE = 1;
inline constexpr std::uint32_t SHUTDOWN_F_SEND = 2;
}  // namespace vsock

}  // namespace holdfast::io
