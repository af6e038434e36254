// SPDX-License-Identifier: Apache-2.0
// HMAC-SHA-256 (RFC 2104) and the second half of HKDF (RFC 5869), on the block function of sys/sha2.hpp: HMAC
// by EVP fetches an algorithm each time, which costs more than the hash, and the first time starts the whole
// provider machinery.
#pragma once

#include <initializer_list>
#include <span>

#include "sys/sha2.hpp"

namespace holdfast {

/// One code over a message that comes in pieces. finish() is the last call. What it knows of the key is
/// wiped.
class HmacSha256 {
public:
    explicit HmacSha256(std::span<const std::byte> key) noexcept;
    HmacSha256(const HmacSha256&) = delete;
    HmacSha256& operator=(const HmacSha256&) = delete;
    ~HmacSha256();
    void update(std::span<const std::byte> bytes) noexcept { inner_.update(bytes); }
    [[nodiscard]] Digest256 finish() noexcept;

private:
    Sha256 inner_;
    Sha256 outer_;
};

/// HKDF-Expand (§2.3): fills `out`, of at most 255 blocks of 32 bytes. The parts of `info` are one message.
/// HKDF-Extract (§2.2) is an HMAC whose key is the salt.
void hkdf_expand(std::span<const std::byte> pseudo_random,
                 std::initializer_list<std::span<const std::byte>> info, std::span<std::byte> out);

}  // namespace holdfast
