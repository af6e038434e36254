// SPDX-License-Identifier: Apache-2.0
// Public keys and the signatures that evidence carries: RSASSA-PKCS1-v1_5, RSASSA-PSS (RFC 8017) and ECDSA
// (FIPS 186-5) on P-256, P-384 and P-521, over OpenSSL's EVP.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "attest/crypto/hash.hpp"
#include "sys/result.hpp"

struct evp_pkey_st;

namespace holdfast::attest {

enum class KeyKind : std::uint8_t { Rsa, P256, P384, P521 };
[[nodiscard]] std::string_view key_kind_name(KeyKind kind) noexcept;

/// A key of a kind and size that we verify with; others are an Input error when it is made. Any thread may
/// use it.
class PublicKey {
public:
    static Result<PublicKey> from_spki(std::span<const std::byte> der);
    /// Takes one more reference of a key that somebody else (a certificate) owns.
    static Result<PublicKey> from_native(evp_pkey_st* key);
    static Result<PublicKey> rsa(std::span<const std::byte> modulus, std::uint32_t exponent);
    static Result<PublicKey> ec(KeyKind curve, std::span<const std::byte> x, std::span<const std::byte> y);

    // A copy is one more reference; the key itself never changes.
    PublicKey(const PublicKey& other) noexcept;
    PublicKey(PublicKey&&) noexcept = default;
    PublicKey& operator=(const PublicKey& other) noexcept;
    PublicKey& operator=(PublicKey&&) noexcept = default;
    ~PublicKey() = default;

    [[nodiscard]] KeyKind kind() const noexcept { return kind_; }
    [[nodiscard]] unsigned bits() const noexcept { return bits_; }
    [[nodiscard]] std::vector<std::byte> spki() const;
    [[nodiscard]] evp_pkey_st* native() const noexcept { return key_.get(); }
    friend bool operator==(const PublicKey& a, const PublicKey& b) noexcept;

private:
    struct Free {
        void operator()(evp_pkey_st* key) const noexcept;
    };
    using Native = std::unique_ptr<evp_pkey_st, Free>;
    PublicKey(Native key, KeyKind kind, unsigned bits) noexcept
        : key_{std::move(key)}, kind_{kind}, bits_{bits} {}
    static Result<PublicKey> judge(Native key);
    Native key_;
    KeyKind kind_;
    unsigned bits_;
};

enum class Scheme : std::uint8_t { RsaPkcs1, RsaPss, Ecdsa };

/// Borrows its bytes. Numbers are big-endian, of any length that the key's size allows.
struct Signature {
    Scheme scheme = Scheme::Ecdsa;
    HashAlg hash = HashAlg::Sha256;
    std::span<const std::byte> first;   ///< the RSA signature, or r
    std::span<const std::byte> second;  ///< s
};

/// A signature that does not verify is an Input error, as is one that does not fit the key.
[[nodiscard]] Result<void> verify(const PublicKey& key, const Signature& signature,
                                  std::span<const std::byte> message);

}  // namespace holdfast::attest
