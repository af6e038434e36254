// SPDX-License-Identifier: Apache-2.0
// Detached signatures as people make them: `openssl pkeyutl -sign -rawin -inkey KEY -in FILE -out SIGNATURE`
// with a key of Ed25519 (RFC 8032), or of ECDSA on P-256 with SHA-256 (FIPS 186-5; in DER).
#pragma once

#include <cstddef>
#include <span>

struct evp_pkey_st;

namespace holdfast {

inline constexpr std::size_t kMaxPublicKey = 128;  ///< bytes of a SubjectPublicKeyInfo in DER
inline constexpr std::size_t kMaxSignature = 80;   ///< bytes

[[nodiscard]] bool is_p256(const evp_pkey_st* key);
[[nodiscard]] bool is_ed25519(const evp_pkey_st* key);

/// `key`: SubjectPublicKeyInfo in DER of one of the two kinds. False for anything else.
[[nodiscard]] bool is_signed_by(std::span<const std::byte> key, std::span<const std::byte> message,
                                std::span<const std::byte> signature);

}  // namespace holdfast
