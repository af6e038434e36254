// SPDX-License-Identifier: Apache-2.0
// What holdfast-vtpm and holdfast-store say to each other: a fixed head and at most kMaxBlob bytes behind
// it, on a stream socket, one request at a time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sys/wire/endian.hpp"

namespace holdfast::vtpm::store {

enum class Operation : std::uint32_t {
    Open = 1,     ///< takes the lock; the answer has the newest version and its blob
    Write = 2,    ///< `version` is the newest one plus 1; answered when it is durable
    Release = 3,  ///< gives the lock back: another process may open the state
    GoBack = 4,   ///< after Open: the newest version never was; the answer has the one before it
};

enum class Status : std::uint32_t {
    Ok = 0,
    Empty = 1,    ///< Open: there never was a blob
    Locked = 2,   ///< Open: another process has it
    Damaged = 3,  ///< Open: what is there is not what was last made durable
    Refused = 4,  ///< out of order or too long
};

inline constexpr std::size_t kMaxBlob = 224U << 10;

struct Head {
    Le<std::uint32_t> operation;  // of an answer: the Status
    Le<std::uint32_t> length;     // bytes that follow
    Le<std::uint64_t> version;
};
static_assert(sizeof(Head) == 16 && alignof(Head) == 1);

}  // namespace holdfast::vtpm::store
