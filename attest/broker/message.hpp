// SPDX-License-Identifier: Apache-2.0
// What a guest and `holdfast broker` say to each other, over TLS 1.3: messages with 32 bits of length
// (big-endian) in front, each one CBOR map in the deterministic encoding. docs/broker.md has the protocol.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "attest/evidence/evidence.hpp"

namespace holdfast::attest::broker {

inline constexpr std::size_t kNonceBytes = 32;
inline constexpr std::size_t kMaxRequest = 4U << 20;  ///< the evidence of a plain guest has 64 KiB
inline constexpr std::size_t kMaxSecret = 64U << 10;
inline constexpr std::size_t kMaxName = 64;

enum class Op : std::uint8_t { Challenge, Release };

/// Borrows its bytes.
struct Request {
    Op op = Op::Challenge;
    // Release:
    std::string_view name;  ///< of the secret
    Bytes key;              ///< SubjectPublicKeyInfo of the guest, which is under the binding
    Bytes evidence;
};
[[nodiscard]] std::vector<std::byte> encode(const Request& request);
Result<Request> decode_request(Bytes message);

/// One of the three. Borrows its bytes.
struct Answer {
    Bytes nonce;
    Bytes secret;
    std::vector<std::string_view> refused;  ///< codes, as `holdfast verify --json` has them, and the broker's
};
[[nodiscard]] std::vector<std::byte> encode_nonce(Bytes nonce);
[[nodiscard]] std::vector<std::byte> encode_refusal(std::span<const std::string> codes);
/// What stands in front of a secret of this size: so that the secret itself needs no second copy.
[[nodiscard]] std::vector<std::byte> encode_secret_head(std::size_t size);
Result<Answer> decode_answer(Bytes message);

}  // namespace holdfast::attest::broker
