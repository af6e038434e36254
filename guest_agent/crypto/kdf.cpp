// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/crypto/kdf.hpp"

#include <array>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::agent {
namespace {

constexpr std::size_t kBlock = 64;  // of SHA-256

/// One HMAC of parts that come one after the other. On SHA-256's block function: HMAC by EVP fetches an
/// algorithm each time, which costs more than the hash.
class Hmac {
public:
    explicit Hmac(Bytes key) noexcept {
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
    Hmac(const Hmac&) = delete;
    Hmac& operator=(const Hmac&) = delete;
    ~Hmac() {
        // SAFETY: both are plain structs of libcrypto, whose bytes are overwritten at the end of their life.
        wipe(std::as_writable_bytes(std::span{&inner_, 1}));
        wipe(std::as_writable_bytes(std::span{&outer_, 1}));
    }
    void update(Bytes bytes) noexcept { inner_.update(bytes); }
    [[nodiscard]] Digest256 finish() noexcept {
        Digest256 inside = inner_.finish();
        outer_.update(inside);
        wipe(inside);
        return outer_.finish();
    }

private:
    Sha256 inner_;
    Sha256 outer_;
};

}  // namespace

Digest256 hmac(Bytes key, std::initializer_list<Bytes> message) {
    Hmac running{key};
    for (const Bytes part : message) running.update(part);
    return running.finish();
}

Key hkdf_extract(Bytes salt, std::initializer_list<Bytes> secret) {
    Digest256 digest = hmac(salt, secret);
    Key key;
    std::memcpy(key.bytes().data(), digest.data(), digest.size());
    wipe(digest);
    return key;
}

void hkdf_expand(const Key& pseudo_random, std::initializer_list<Bytes> info, std::span<std::byte> out) {
    check(out.size() <= std::size_t{255} * kKeyBytes, "too much of HKDF");
    Digest256 block{};
    std::size_t known = 0;
    for (std::uint8_t counter = 1; !out.empty(); ++counter) {
        Hmac running{pseudo_random.bytes()};
        running.update(Bytes{block}.first(known));
        for (const Bytes part : info) running.update(part);
        running.update(std::as_bytes(std::span{&counter, 1}));
        block = running.finish();
        known = block.size();
        const std::size_t taken = std::min(out.size(), block.size());
        std::memcpy(out.data(), block.data(), taken);
        out = out.subspan(taken);
    }
    wipe(block);
}

Key hkdf_expand_key(const Key& pseudo_random, std::initializer_list<Bytes> info) {
    Key key;
    hkdf_expand(pseudo_random, info, key.bytes());
    return key;
}

Digest256 hash_parts(std::initializer_list<Bytes> parts) {
    Sha256 hash;
    for (const Bytes part : parts) {
        const Le<std::uint64_t> size{part.size()};
        hash.update(std::as_bytes(std::span{&size, 1}));
        hash.update(part);
    }
    return hash.finish();
}

}  // namespace holdfast::agent
