// SPDX-License-Identifier: Apache-2.0
// The few cryptographic calls of the anchor, all OpenSSL's: SHA-256, HMAC, random bytes, AES-256-GCM.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "vtpm/anchor/leaf.hpp"

namespace holdfast::anchor {

using Parts = std::initializer_list<std::span<const std::byte>>;

/// Of the concatenation of the parts.
[[nodiscard]] Digest sha256(Parts parts);
[[nodiscard]] Digest hmac_sha256(std::span<const std::byte> key, Parts parts);
void random_bytes(std::span<std::byte> out);

/// AES-256-GCM with a random nonce in front and the tag behind; `about` is authenticated with it.
inline constexpr std::size_t kSealedExtra = 12 + 16;
[[nodiscard]] std::vector<std::byte> seal(std::span<const std::byte> key, std::span<const std::byte> about,
                                          std::span<const std::byte> plain);
/// Peer error: not sealed under this key with this `about`.
Result<std::vector<std::byte>> open_sealed(std::span<const std::byte> key, std::span<const std::byte> about,
                                           std::span<const std::byte> sealed);

}  // namespace holdfast::anchor
