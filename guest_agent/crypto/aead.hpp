// SPDX-License-Identifier: Apache-2.0
// AES-256-GCM (NIST SP 800-38D): 96 bits of nonce, 128 bits of tag behind the ciphertext.
#pragma once

#include <array>
#include <memory>

#include "guest_agent/crypto/key.hpp"

struct evp_cipher_ctx_st;

namespace holdfast::agent {

inline constexpr std::size_t kNonceBytes = 12;
inline constexpr std::size_t kTagBytes = 16;
using Nonce = std::array<std::byte, kNonceBytes>;

/// A key that is set up once. One thread. The caller never gives it the same nonce twice.
class Aead {
public:
    static Result<Aead> create(const Key& key);
    /// `out` has room for the plaintext and the tag; it may begin where `plain` does.
    Result<void> seal(const Nonce& nonce, Bytes associated, Bytes plain, std::span<std::byte> out);
    /// `out` has room for the plaintext. What does not verify is a Peer error, and `out` is then zeros.
    Result<void> open(const Nonce& nonce, Bytes associated, Bytes sealed, std::span<std::byte> out);

private:
    struct Free {
        void operator()(evp_cipher_ctx_st* context) const noexcept;
    };
    using Context = std::unique_ptr<evp_cipher_ctx_st, Free>;
    Aead(Context sealing, Context opening) noexcept
        : sealing_{std::move(sealing)}, opening_{std::move(opening)} {}
    Context sealing_;
    Context opening_;
};

}  // namespace holdfast::agent
