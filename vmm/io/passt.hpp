// SPDX-License-Identifier: Apache-2.0
// The stream that passt(1) and QEMU's socket netdev speak: each Ethernet frame behind its length, 32
// bits, big-endian. This is the decoder of what comes in; it does no I/O.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "sys/result.hpp"
#include "sys/wire/endian.hpp"
#include "vmm/io/protocol.hpp"

namespace holdfast::io {

using FrameLength = Be<std::uint32_t>;
/// Addresses and type: a shorter frame is none.
inline constexpr std::size_t kMinFrame = 14;

/// Cuts a byte stream into frames. Its buffer holds the longest frame, so that it never stalls, and
/// untouched pages of it cost nothing.
class FrameDecoder {
public:
    FrameDecoder() : buffer_{new std::byte[kCapacity]} {}

    /// Where the next bytes of the stream go; never empty after next() said none.
    [[nodiscard]] std::span<std::byte> room() noexcept;
    /// `size` bytes were put at the front of room().
    void filled(std::size_t size) noexcept { end_ += size; }
    /// The next whole frame, valid until room() is called; none: more bytes are needed. Peer error: a
    /// length out of range, after which the stream has no meaning.
    Result<std::optional<std::span<const std::byte>>> next() noexcept;

private:
    static constexpr std::size_t kCapacity = 2 * (sizeof(FrameLength) + kMaxFrame);
    std::unique_ptr<std::byte[]> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace holdfast::io
