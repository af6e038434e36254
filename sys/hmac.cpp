// SPDX-License-Identifier: Apache-2.0
#include "sys/hmac.hpp"

#include <cstring>

#include "sys/secret.hpp"

namespace holdfast {
namespace {

constexpr std::size_t kBlock = 64;  // of SHA-256

}  // namespace

HmacSha256::HmacSha256(std::span<const std::byte> key) noexcept {
    std::array<std::byte, kBlock> inner{};
    if (key.size() > kBlock) {
        Sha256 hash;
        hash.update(key);
        const Digest256 digest = hash.finish();
        std::memcpy(inner.data(), digest.data(), digest.size());
    } else if (!key.empty()) {
        std::memcpy(inner.data(), key.data(), key.size());
    }
    std::array<std::byte, kBlock> outer = inner;
    for (std::byte& byte : inner) byte ^= std::byte{0x36};
    for (std::byte& byte : outer) byte ^= std::byte{0x5c};
    inner_.update(inner);
    outer_.update(outer);
    wipe(inner);
    wipe(outer);
}

HmacSha256::~HmacSha256() {
    // SAFETY: both are plain structs of libcrypto, whose bytes are overwritten at the end of their life.
    wipe(std::as_writable_bytes(std::span{&inner_, 1}));
    wipe(std::as_writable_bytes(std::span{&outer_, 1}));
}

Digest256 HmacSha256::finish() noexcept {
    Digest256 inside = inner_.finish();
    outer_.update(inside);
    wipe(inside);
    return outer_.finish();
}

}  // namespace holdfast
