// SPDX-License-Identifier: Apache-2.0
// Key pairs of Curve25519: X25519 (RFC 7748) to agree on secrets, Ed25519 (RFC 8032) to sign. Public halves
// are 32 raw bytes; private halves are Keys, which OpenSSL sees for the length of one call.
#pragma once

#include <array>

#include "guest_agent/crypto/key.hpp"

namespace holdfast::agent {

using PublicBytes = std::array<std::byte, 32>;
inline constexpr std::size_t kSignatureBytes = 64;
using SignatureBytes = std::array<std::byte, kSignatureBytes>;

struct AgreementKey {
    Key secret;
    PublicBytes shared{};
};
[[nodiscard]] Result<AgreementKey> make_agreement_key();
/// Of a private key that is known already: for published vectors.
[[nodiscard]] Result<PublicBytes> agreement_public(const Key& secret);
/// The shared secret as RFC 7748 §6.1 has it. A peer whose point is of small order is a Peer error.
[[nodiscard]] Result<Key> agree(const Key& ours, const PublicBytes& theirs);

struct SigningKey {
    Key secret;
    PublicBytes shared{};
};
[[nodiscard]] Result<SigningKey> make_signing_key();
[[nodiscard]] Result<SignatureBytes> sign(const Key& secret, Bytes message);
[[nodiscard]] bool is_signed(const PublicBytes& key, Bytes message, Bytes signature);

}  // namespace holdfast::agent
