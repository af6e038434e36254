// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/crypto/aead.hpp"

#include <climits>

#include <openssl/evp.h>

#include "guest_agent/crypto/raw.hpp"

namespace holdfast::agent {
namespace {

constexpr Error kBroken{Fault::Os, 0, "AES-256-GCM"};

}  // namespace

void Aead::Free::operator()(evp_cipher_ctx_st* context) const noexcept { EVP_CIPHER_CTX_free(context); }

Result<Aead> Aead::create(const Key& key) {
    Context sealing{EVP_CIPHER_CTX_new()};
    Context opening{EVP_CIPHER_CTX_new()};
    if (!sealing || !opening ||
        EVP_EncryptInit_ex(sealing.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), nullptr) != 1 ||
        EVP_DecryptInit_ex(opening.get(), EVP_aes_256_gcm(), nullptr, raw(key.bytes()), nullptr) != 1) {
        return kBroken;
    }
    return Aead{std::move(sealing), std::move(opening)};
}

Result<void> Aead::seal(const Nonce& nonce, Bytes associated, Bytes plain, std::span<std::byte> out) {
    check(plain.size() <= INT_MAX && out.size() == plain.size() + kTagBytes, "room to seal into");
    int size = 0;
    if (EVP_EncryptInit_ex(sealing_.get(), nullptr, nullptr, nullptr, raw(nonce)) != 1 ||
        EVP_EncryptUpdate(sealing_.get(), nullptr, &size, raw(associated), int_size(associated)) != 1 ||
        EVP_EncryptUpdate(sealing_.get(), room(out), &size, raw(plain), int_size(plain)) != 1 ||
        EVP_EncryptFinal_ex(sealing_.get(), room(out.subspan(plain.size())), &size) != 1 ||
        EVP_CIPHER_CTX_ctrl(sealing_.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes,
                            room(out.subspan(plain.size()))) != 1) {
        return kBroken;
    }
    return {};
}

Result<void> Aead::open(const Nonce& nonce, Bytes associated, Bytes sealed, std::span<std::byte> out) {
    if (sealed.size() < kTagBytes) return peer_fault("sealed bytes are too short");
    const Bytes body = sealed.first(sealed.size() - kTagBytes);
    check(body.size() <= INT_MAX && out.size() == body.size(), "room to open into");
    std::array<std::byte, kTagBytes> tag{};
    std::copy(sealed.end() - kTagBytes, sealed.end(), tag.begin());
    int size = 0;
    if (EVP_DecryptInit_ex(opening_.get(), nullptr, nullptr, nullptr, raw(nonce)) != 1 ||
        EVP_DecryptUpdate(opening_.get(), nullptr, &size, raw(associated), int_size(associated)) != 1 ||
        EVP_DecryptUpdate(opening_.get(), room(out), &size, raw(body), int_size(body)) != 1 ||
        EVP_CIPHER_CTX_ctrl(opening_.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) != 1) {
        wipe(out);
        return kBroken;
    }
    if (EVP_DecryptFinal_ex(opening_.get(), room(tag), &size) != 1) {
        wipe(out);
        return peer_fault("sealed bytes were changed, or are not for this key and place");
    }
    return {};
}

}  // namespace holdfast::agent
