// SPDX-License-Identifier: Apache-2.0
// The packet header of virtio sockets, virtio 1.2 §5.10.6.
#pragma once

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::vsock {

struct [[gnu::packed]] Header {
    u64 src_cid, dst_cid;
    u32 src_port, dst_port;
    u32 len;
    u16 type, op;
    u32 flags;
    u32 buf_alloc, fwd_cnt;
};
static_assert(sizeof(Header) == 44);

inline constexpr u64 kHost = 2;
inline constexpr u16 kStream = 1;

namespace op {
inline constexpr u16 Request = 1, Response = 2, Rst = 3, Shutdown = 4, Rw = 5, CreditUpdate = 6,
                     CreditRequest = 7;
}

}  // namespace holdfast::builtin::vsock
