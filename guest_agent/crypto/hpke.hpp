// SPDX-License-Identifier: Apache-2.0
// HPKE (RFC 9180), base mode, single shot: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. OpenSSL has
// it from 3.2 on, Debian 12 has 3.0. Left out: the other modes and suites, export, more than one message a
// context.
#pragma once

#include <vector>

#include "guest_agent/crypto/keys.hpp"

namespace holdfast::agent::hpke {

inline constexpr std::size_t kEncapsulated = 32;
/// What a sealed message is longer than its plaintext.
inline constexpr std::size_t kOverhead = kEncapsulated + 16;

/// enc and ct of RFC 9180 §6.1, one behind the other.
[[nodiscard]] Result<std::vector<std::byte>> seal(const PublicBytes& recipient, Bytes info, Bytes associated,
                                                  Bytes plain);
/// A Peer error for what is not sealed for this key, info and associated data.
[[nodiscard]] Result<SecretBuffer> open(const AgreementKey& recipient, Bytes info, Bytes associated,
                                        Bytes sealed);

/// The same with an ephemeral key of the caller's, which is used for this and nothing else: for published
/// vectors.
[[nodiscard]] Result<std::vector<std::byte>> seal_with(const AgreementKey& ephemeral,
                                                       const PublicBytes& recipient, Bytes info,
                                                       Bytes associated, Bytes plain);

}  // namespace holdfast::agent::hpke
