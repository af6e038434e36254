// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/crypto/kdf.hpp"

#include <cstring>

#include "sys/hmac.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent {

Digest256 hmac(Bytes key, std::initializer_list<Bytes> message) {
    HmacSha256 running{key};
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
    holdfast::hkdf_expand(pseudo_random.bytes(), info, out);
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
