// SPDX-License-Identifier: Apache-2.0
// As in sys/sha2: the block functions that OpenSSL 3 calls deprecated. A log of small events is mostly hashes
// of two blocks, and EVP's set-up would cost more than they do.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "attest/crypto/hash.hpp"

#include <algorithm>

#include "sys/result.hpp"

namespace holdfast::attest {
namespace {

struct Row {
    HashAlg alg;
    std::string_view name;
    std::size_t size;
};
constexpr std::array kRows{Row{HashAlg::Sha1, "sha1", SHA_DIGEST_LENGTH},
                           Row{HashAlg::Sha256, "sha256", SHA256_DIGEST_LENGTH},
                           Row{HashAlg::Sha384, "sha384", SHA384_DIGEST_LENGTH},
                           Row{HashAlg::Sha512, "sha512", SHA512_DIGEST_LENGTH}};

const Row& row_of(HashAlg alg) noexcept {
    const auto* const row = std::ranges::find(kRows, alg, &Row::alg);
    check(row != kRows.end(), "hash algorithm that there is not");
    return *row;
}

}  // namespace

std::optional<HashAlg> known_hash(std::uint16_t number) noexcept {
    const auto* const row = std::ranges::find(kRows, static_cast<HashAlg>(number), &Row::alg);
    return row == kRows.end() ? std::nullopt : std::optional{row->alg};
}

std::optional<HashAlg> hash_of_name(std::string_view name) noexcept {
    const auto* const row = std::ranges::find(kRows, name, &Row::name);
    return row == kRows.end() ? std::nullopt : std::optional{row->alg};
}

std::size_t digest_size(HashAlg alg) noexcept { return row_of(alg).size; }
std::string_view hash_name(HashAlg alg) noexcept { return row_of(alg).name; }

std::optional<Digest> digest_from(HashAlg alg, std::span<const std::byte> bytes) noexcept {
    if (bytes.size() != digest_size(alg)) return std::nullopt;
    Digest digest{.alg = alg};
    std::ranges::copy(bytes, digest.storage.begin());
    return digest;
}

// None of these can fail: they compute in memory that we own.
Hasher::Hasher(HashAlg alg) noexcept : alg_{alg} {
    switch (alg) {
        case HashAlg::Sha1: SHA1_Init(&running_.emplace<SHA_CTX>()); return;
        case HashAlg::Sha256: SHA256_Init(&running_.emplace<SHA256_CTX>()); return;
        case HashAlg::Sha384: SHA384_Init(&running_.emplace<SHA512_CTX>()); return;
        case HashAlg::Sha512: SHA512_Init(&running_.emplace<SHA512_CTX>()); return;
    }
    bug("hash of an unknown algorithm");
}

void Hasher::update(std::span<const std::byte> bytes) noexcept {
    switch (alg_) {
        case HashAlg::Sha1: SHA1_Update(std::get_if<SHA_CTX>(&running_), bytes.data(), bytes.size()); return;
        case HashAlg::Sha256:
            SHA256_Update(std::get_if<SHA256_CTX>(&running_), bytes.data(), bytes.size());
            return;
        case HashAlg::Sha384:
        case HashAlg::Sha512:  // one state for both
            SHA512_Update(std::get_if<SHA512_CTX>(&running_), bytes.data(), bytes.size());
            return;
    }
}

Digest Hasher::finish() noexcept {
    Digest digest{.alg = alg_};
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    auto* const out = reinterpret_cast<unsigned char*>(digest.storage.data());
    switch (alg_) {
        case HashAlg::Sha1: SHA1_Final(out, std::get_if<SHA_CTX>(&running_)); break;
        case HashAlg::Sha256: SHA256_Final(out, std::get_if<SHA256_CTX>(&running_)); break;
        case HashAlg::Sha384: SHA384_Final(out, std::get_if<SHA512_CTX>(&running_)); break;
        case HashAlg::Sha512: SHA512_Final(out, std::get_if<SHA512_CTX>(&running_)); break;
    }
    return digest;
}

Digest hash(HashAlg alg, std::span<const std::byte> bytes) noexcept {
    Hasher running{alg};
    running.update(bytes);
    return running.finish();
}

Digest extended(const Digest& pcr, std::span<const std::byte> digest) noexcept {
    Hasher running{pcr.alg};
    running.update(pcr.bytes());
    running.update(digest);
    return running.finish();
}

}  // namespace holdfast::attest
