// SPDX-License-Identifier: Apache-2.0
// The hashes that evidence is made of (FIPS 180-4), by the numbers that TPMs and logs give them (TCG
// Algorithm Registry 1.32, TPM_ALG_ID). SHA-1 is here because old logs and banks must be read; policies
// refuse it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include <openssl/sha.h>

namespace holdfast::attest {

enum class HashAlg : std::uint16_t { Sha1 = 0x0004, Sha256 = 0x000b, Sha384 = 0x000c, Sha512 = 0x000d };
inline constexpr std::array kHashAlgs{HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512};
inline constexpr std::size_t kMaxDigest = 64;

/// An algorithm that we compute, from a number or a name that came from elsewhere; else none.
[[nodiscard]] std::optional<HashAlg> known_hash(std::uint16_t number) noexcept;
[[nodiscard]] std::optional<HashAlg> hash_of_name(std::string_view name) noexcept;
[[nodiscard]] std::size_t digest_size(HashAlg alg) noexcept;
/// "sha256": as in tpm2-tools, policies and JSON.
[[nodiscard]] std::string_view hash_name(HashAlg alg) noexcept;

struct Digest {
    HashAlg alg = HashAlg::Sha256;
    std::array<std::byte, kMaxDigest> storage{};  ///< zero behind the digest

    [[nodiscard]] std::span<std::byte> bytes() noexcept { return std::span{storage}.first(digest_size(alg)); }
    [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
        return std::span{storage}.first(digest_size(alg));
    }
    friend bool operator==(const Digest&, const Digest&) noexcept = default;
};
/// `bytes` must be of the algorithm's size; else none.
[[nodiscard]] std::optional<Digest> digest_from(HashAlg alg, std::span<const std::byte> bytes) noexcept;

/// One running hash; finish() is the last call.
class Hasher {
public:
    explicit Hasher(HashAlg alg) noexcept;
    void update(std::span<const std::byte> bytes) noexcept;
    [[nodiscard]] Digest finish() noexcept;

private:
    HashAlg alg_;
    std::variant<SHA_CTX, SHA256_CTX, SHA512_CTX> running_;
};

[[nodiscard]] Digest hash(HashAlg alg, std::span<const std::byte> bytes) noexcept;
/// As TPM2_PCR_Extend: the hash of the old value and the new digest.
[[nodiscard]] Digest extended(const Digest& pcr, std::span<const std::byte> digest) noexcept;

}  // namespace holdfast::attest
