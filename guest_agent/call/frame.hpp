// SPDX-License-Identifier: Apache-2.0
// Frames of calls across a guest's boundary (docs/agent.md, "Calls"): a header of 32 bytes, little-endian,
// and a body whose length it states. Whoever carries them is hostile: a header is judged before anything is
// done for its body.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/result.hpp"

namespace holdfast::agent::call {

/// There is one version, and a frame of another is refused.
inline constexpr std::uint16_t kVersion = 1;
inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr std::size_t kMaxBody = 1U << 20;  ///< bytes on the wire, tag included

enum class Kind : std::uint8_t {
    Hello = 1,    ///< begins a session between guests
    Request = 2,  ///< of either side
    Reply = 3,
    Refusal = 4,  ///< instead of a reply; its body is a code
};

struct Header {
    Kind kind = Kind::Request;
    std::uint16_t service = 0;
    std::uint16_t method = 0;
    std::uint32_t length = 0;    ///< of the body
    std::uint64_t request = 0;   ///< which request this is, or answers; counts from 1 on each side
    std::uint64_t sequence = 0;  ///< of frames in this direction, from 0
    friend bool operator==(const Header&, const Header&) noexcept = default;
};
using HeaderBytes = std::array<std::byte, kHeaderBytes>;

[[nodiscard]] HeaderBytes encode(const Header& header) noexcept;
/// A header that means nothing is a Peer error.
[[nodiscard]] Result<Header> decode(std::span<const std::byte, kHeaderBytes> bytes);

struct Frame {
    Header header;
    HeaderBytes head{};  ///< as it came, for what is authenticated
    std::vector<std::byte> body;
};

/// Finds frames in a stream. Holds no more than one frame, and memory for what has come of it. After an error
/// it gives nothing but that error: where the next frame would begin is not known.
class FrameReader {
public:
    /// Takes from the front of `input` what it can use; a frame as soon as there is one, else none and all
    /// was taken.
    Result<std::optional<Frame>> take(Bytes& input);
    /// Whether the stream may end here.
    [[nodiscard]] bool is_between_frames() const noexcept { return filled_ == 0; }

private:
    Result<void> judge_header();
    Frame frame_;
    std::size_t filled_ = 0;  ///< bytes of header and body that are there
    std::optional<Error> broken_;
};

}  // namespace holdfast::agent::call
