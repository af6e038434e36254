// SPDX-License-Identifier: Apache-2.0
// AEGIS-256X2 with 128-bit tags, written from the pseudo-code of draft-irtf-cfrg-aegis-aead-18 byte by byte:
// slow, for any length, and without anything that the product has. An oracle for it, once it gives the
// draft's vectors.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace holdfast::memcrypt::reference {

using Octets = std::vector<std::uint8_t>;
using Block = std::array<std::uint8_t, 16>;

/// One round of AES (FIPS 197), with `key` as its round key.
Block aes_round(const Block& in, const Block& key);

/// 6 x 2 blocks after initialization, as V[i][j] of the draft.
using State = std::array<std::array<Block, 2>, 6>;
State initial_state(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce);

struct Sealed {
    Octets text;
    Block tag;
};
Sealed encrypt(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce,
               std::span<const std::uint8_t> context, std::span<const std::uint8_t> message);

}  // namespace holdfast::memcrypt::reference
