// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/hash.hpp"

#include <algorithm>
#include <memory>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "sys/free_with.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;

using DigestContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;
using Algorithm = std::unique_ptr<EVP_MD, FreeWith<EVP_MD_free>>;
using Mac = std::unique_ptr<EVP_MAC, FreeWith<EVP_MAC_free>>;
using MacContext = std::unique_ptr<EVP_MAC_CTX, FreeWith<EVP_MAC_CTX_free>>;
using CipherContext = std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>>;

const unsigned char* raw(std::span<const std::byte> bytes) {
    // SAFETY: unsigned char may alias anything.
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* writable(std::span<std::byte> bytes) {
    return reinterpret_cast<unsigned char*>(bytes.data());  // SAFETY: as above
}

}  // namespace

Digest sha256(Parts parts) {
    // Looked up and allocated once: both take longer than hashing a node does. The anchor has one thread.
    static const Algorithm algorithm{EVP_MD_fetch(nullptr, "SHA256", nullptr)};
    static const DigestContext context{EVP_MD_CTX_new()};
    bool fine = context && EVP_DigestInit_ex(context.get(), algorithm.get(), nullptr) == 1;
    for (const auto part : parts)
        fine = fine && EVP_DigestUpdate(context.get(), part.data(), part.size()) == 1;
    Digest digest{};
    fine = fine && EVP_DigestFinal_ex(context.get(), writable(digest), nullptr) == 1;
    check(fine, "SHA-256 cannot be computed");
    return digest;
}

Digest hmac_sha256(std::span<const std::byte> key, Parts parts) {
    static const Mac algorithm{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
    const MacContext context{EVP_MAC_CTX_new(algorithm.get())};
    char name[] = "SHA256";
    const OSSL_PARAM params[]{OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
                              OSSL_PARAM_construct_end()};
    bool fine = context && EVP_MAC_init(context.get(), raw(key), key.size(), params) == 1;
    for (const auto part : parts) fine = fine && EVP_MAC_update(context.get(), raw(part), part.size()) == 1;
    Digest digest{};
    std::size_t size = digest.size();
    fine = fine && EVP_MAC_final(context.get(), writable(digest), &size, digest.size()) == 1;
    check(fine, "HMAC cannot be computed");
    return digest;
}

void random_bytes(std::span<std::byte> out) {
    check(RAND_bytes(writable(out), static_cast<int>(out.size())) == 1, "no random numbers");
}

std::vector<std::byte> seal(std::span<const std::byte> key, std::span<const std::byte> about,
                            std::span<const std::byte> plain) {
    check(key.size() == 32, "AES-256 takes 32 bytes of key");
    std::vector<std::byte> out(kSealedExtra + plain.size());
    const std::span nonce = std::span{out}.first(kNonceBytes);
    const std::span body = std::span{out}.subspan(kNonceBytes, plain.size());
    const std::span tag = std::span{out}.last(kTagBytes);
    random_bytes(nonce);
    const CipherContext context{EVP_CIPHER_CTX_new()};
    int size = 0;
    const bool fine =
        context && EVP_EncryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key), raw(nonce)) == 1 &&
        EVP_EncryptUpdate(context.get(), nullptr, &size, raw(about), static_cast<int>(about.size())) == 1 &&
        EVP_EncryptUpdate(context.get(), writable(body), &size, raw(plain), static_cast<int>(plain.size())) ==
            1 &&
        EVP_EncryptFinal_ex(context.get(), writable(body), &size) == 1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag.data()) == 1;
    check(fine, "AES-GCM cannot be computed");
    return out;
}

Result<std::vector<std::byte>> open_sealed(std::span<const std::byte> key, std::span<const std::byte> about,
                                           std::span<const std::byte> sealed) {
    check(key.size() == 32, "AES-256 takes 32 bytes of key");
    if (sealed.size() < kSealedExtra || sealed.size() > INT32_MAX)
        return peer_fault("sealed bytes are cut off");
    std::vector<std::byte> plain(sealed.size() - kSealedExtra);
    const std::span body = sealed.subspan(kNonceBytes, plain.size());
    std::array<std::byte, kTagBytes> tag{};
    std::ranges::copy(sealed.last(kTagBytes), tag.begin());
    const CipherContext context{EVP_CIPHER_CTX_new()};
    int size = 0;
    const bool fine =
        context &&
        EVP_DecryptInit_ex(context.get(), EVP_aes_256_gcm(), nullptr, raw(key),
                           raw(sealed.first(kNonceBytes))) == 1 &&
        EVP_DecryptUpdate(context.get(), nullptr, &size, raw(about), static_cast<int>(about.size())) == 1 &&
        EVP_DecryptUpdate(context.get(), writable(plain), &size, raw(body), static_cast<int>(body.size())) ==
            1 &&
        EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1 &&
        EVP_DecryptFinal_ex(context.get(), writable(plain), &size) == 1;
    if (!fine) return peer_fault("sealed bytes do not authenticate");
    return plain;
}

}  // namespace holdfast::anchor
