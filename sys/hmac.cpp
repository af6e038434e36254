// SPDX-License-Identifier: Apache-2.0
#include "sys/hmac.hpp"

#include <algorithm>
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

void hkdf_expand(std::span<const std::byte> pseudo_random,
                 std::initializer_list<std::span<const std::byte>> info, std::span<std::byte> out) {
    check(out.size() <= std::size_t{255} * sizeof(Digest256), "too much of HKDF");
    Digest256 block{};
    std::size_t known = 0;
    for (std::uint8_t counter = 1; !out.empty(); ++counter) {
        HmacSha256 running{pseudo_random};
        running.update(std::span{block}.first(known));
        for (const auto part : info) running.update(part);
        running.update(std::as_bytes(std::span{&counter, 1}));
        block = running.finish();
        known = block.size();
        const std::size_t taken = std::min(out.size(), block.size());
        std::memcpy(out.data(), block.data(), taken);
        out = out.subspan(taken);
    }
    wipe(block);
}

}  // namespace holdfast
