// SPDX-License-Identifier: Apache-2.0
// One end of a conversation of calls: requests of both sides, and the judgement whether a reply answers what
// was asked. No I/O. Between guests every frame is sealed; with the host it cannot be, and then what matters
// is sealed inside (blob.hpp) or is a hint.
//
// The carrier may drop, delay, repeat, reorder, change and invent frames. Each of it ends the conversation,
// delay excepted: an end that has failed once fails for ever, and who was waiting gets an error and never
// data.
#pragma once

#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "guest_agent/call/frame.hpp"
#include "guest_agent/crypto/aead.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent::call {

/// Keys of one session, of one direction each.
struct DirectionKeys {
    Key key;
    Nonce start{};  ///< of nonces: XOR the sequence, as in TLS 1.3 (RFC 8446 §5.3)
};

inline constexpr std::size_t kMaxPending = 64;  ///< requests without a reply, in each direction
/// Frames of a session in one direction. Far below what AES-GCM allows a key (2^32 for NIST SP 800-38D's
/// limits).
inline constexpr std::uint64_t kMaxFrames = 1ULL << 32;

struct Request {
    std::uint64_t id = 0;
    std::uint16_t service = 0;
    std::uint16_t method = 0;
    SecretBuffer body;
};
struct Reply {
    std::uint64_t id = 0;
    std::uint16_t service = 0;
    std::uint16_t method = 0;
    SecretBuffer body;
};
struct Refusal {
    std::uint64_t id = 0;
    std::uint16_t code = 0;
};
using Incoming = std::variant<Request, Reply, Refusal>;

struct Outgoing {
    std::uint64_t id = 0;
    std::vector<std::byte> bytes;  ///< a whole frame
};

/// One thread.
class Endpoint {
public:
    /// Frames in the clear.
    [[nodiscard]] static Endpoint with_host() noexcept { return Endpoint{}; }
    /// Frames sealed with keys that the carrier does not have.
    [[nodiscard]] static Result<Endpoint> with_guest(const DirectionKeys& send, const DirectionKeys& receive);

    /// A request, which waits for its reply from now on. Fails when kMaxPending do.
    Result<Outgoing> request(std::uint16_t service, std::uint16_t method, Bytes body);
    /// To a request that has come and has no answer yet.
    Result<std::vector<std::byte>> reply(std::uint64_t id, Bytes body);
    Result<std::vector<std::byte>> refuse(std::uint64_t id, std::uint16_t code);
    /// Judges a frame. An error is the end of this conversation.
    Result<Incoming> receive(Frame frame);

    [[nodiscard]] std::size_t waiting() const noexcept { return asked_.size(); }
    [[nodiscard]] bool has_failed() const noexcept { return failed_.has_value(); }

private:
    struct Guard {
        Aead aead;
        Nonce start{};
    };
    /// What is remembered of a request until its answer.
    struct Question {
        std::uint16_t service = 0;
        std::uint16_t method = 0;
        Digest256 digest{};  ///< of header and body; zeros where answers are not sealed
    };
    using Questions = std::map<std::uint64_t, Question>;

    Endpoint() noexcept = default;
    Result<std::vector<std::byte>> frame(Header header, Bytes body, const Digest256* question);
    Result<SecretBuffer> opened(Frame& frame, const Digest256* question);
    Result<Incoming> judge(Frame& frame);
    Result<Incoming> judge_request(Frame& frame);
    Result<Incoming> judge_answer(Frame& frame);
    Result<std::vector<std::byte>> answer(std::uint64_t id, Kind kind, Bytes body);

    std::optional<Guard> sealing_;
    std::optional<Guard> opening_;
    Questions asked_;      ///< by us
    Questions to_answer_;  ///< of the peer
    std::uint64_t next_request_ = 1;
    std::uint64_t next_peer_request_ = 1;
    std::uint64_t sent_ = 0;
    std::uint64_t received_ = 0;
    std::optional<Error> failed_;
};

}  // namespace holdfast::agent::call
