// SPDX-License-Identifier: Apache-2.0
// OpenSSL 3 calls these functions deprecated, in favour of EVP; the header says why they are used.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "sys/sha2.hpp"

#include "sys/result.hpp"

namespace holdfast {
namespace {

template <std::size_t Size>
unsigned char* out(std::array<std::byte, Size>& digest) noexcept {
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    return reinterpret_cast<unsigned char*>(digest.data());
}

}  // namespace

// None of these can fail: they compute in memory that we own.
Sha256::Sha256() noexcept { check(SHA256_Init(&state_) == 1, "SHA256_Init"); }
void Sha256::update(std::span<const std::byte> bytes) noexcept {
    check(SHA256_Update(&state_, bytes.data(), bytes.size()) == 1, "SHA256_Update");
}
Digest256 Sha256::finish() noexcept {
    Digest256 digest;
    check(SHA256_Final(out(digest), &state_) == 1, "SHA256_Final");
    return digest;
}

Sha384::Sha384() noexcept { check(SHA384_Init(&state_) == 1, "SHA384_Init"); }
void Sha384::update(std::span<const std::byte> bytes) noexcept {
    check(SHA384_Update(&state_, bytes.data(), bytes.size()) == 1, "SHA384_Update");
}
Digest384 Sha384::finish() noexcept {
    Digest384 digest;
    check(SHA384_Final(out(digest), &state_) == 1, "SHA384_Final");
    return digest;
}

Digest384 sha384(std::span<const std::byte> bytes) noexcept {
    Sha384 hash;
    hash.update(bytes);
    return hash.finish();
}

std::string hex(std::span<const std::byte> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    text.reserve(bytes.size() * 2);
    for (const std::byte byte : bytes) {
        text += digits[std::to_integer<std::size_t>(byte >> 4)];
        text += digits[std::to_integer<std::size_t>(byte & std::byte{0xf})];
    }
    return text;
}

}  // namespace holdfast
