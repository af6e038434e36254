// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869).
#pragma once

#include <initializer_list>

#include "guest_agent/crypto/key.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent {

/// The parts as one message.
[[nodiscard]] Digest256 hmac(Bytes key, std::initializer_list<Bytes> message);
/// HMAC of one part that is secret, as a Key.
[[nodiscard]] Key hkdf_extract(Bytes salt, std::initializer_list<Bytes> secret);
/// Fills `out`, of at most 255 blocks of 32 bytes.
void hkdf_expand(const Key& pseudo_random, std::initializer_list<Bytes> info, std::span<std::byte> out);
[[nodiscard]] Key hkdf_expand_key(const Key& pseudo_random, std::initializer_list<Bytes> info);

/// SHA-256 of the parts, each behind its length in 64 bits (little-endian): so that no two lists of parts are
/// one.
[[nodiscard]] Digest256 hash_parts(std::initializer_list<Bytes> parts);

[[nodiscard]] inline Bytes text(std::string_view label) { return std::as_bytes(std::span{label}); }

}  // namespace holdfast::agent
