// SPDX-License-Identifier: Apache-2.0
// What holdfast-vmm and holdfast-io agree on: operations, statuses, sizes. The layout of the shared
// memory is in ring.hpp. Both sides treat what they read from the other as hostile.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>

namespace holdfast::io {

inline constexpr std::size_t kSlotSize = 64 * 1024;
inline constexpr std::size_t kSlotCount = 256;

/// What a request is for: disks are 0..kMaxDisks-1 in the order of the command line.
enum class ResourceId : std::uint8_t {};
inline constexpr std::uint8_t kMaxDisks = 16;
inline constexpr ResourceId kNet{16};
inline constexpr ResourceId kVsock{17};

enum class Op : std::uint8_t {
    Read = 1,     ///< disk → slot
    Write,        ///< slot → disk
    Flush,        ///< what was written before is durable when this completes
    Discard,      ///< hole in the disk
    WriteZeroes,  ///< zeroes on the disk
    Send,         ///< slot holds one frame (kNet) or one packet (kVsock) from the guest
    Receive,      ///< slot waits for one frame or packet for the guest; completes when one comes
};

enum class Status : std::uint8_t { Ok = 0, IoError, ReadOnly, OutOfRange, Unsupported, NoSpace };

/// kNet: an Ethernet frame without header of ours, at most this many bytes (and a slot's size).
inline constexpr std::size_t kMaxFrame = 65535;

}  // namespace holdfast::io
