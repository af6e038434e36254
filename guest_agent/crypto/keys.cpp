// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/crypto/keys.hpp"

#include <memory>

#include <openssl/evp.h>
#include <openssl/rand.h>

#include "guest_agent/crypto/raw.hpp"
#include "sys/free_with.hpp"

namespace holdfast::agent {
namespace {

using NativeKey = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using HashContext = std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>>;

NativeKey private_key(int kind, const Key& secret) {
    return NativeKey{EVP_PKEY_new_raw_private_key(kind, nullptr, raw(secret.bytes()), kKeyBytes)};
}

Result<PublicBytes> public_of(int kind, const Key& secret) {
    const NativeKey key = private_key(kind, secret);
    PublicBytes out{};
    std::size_t size = out.size();
    if (!key || EVP_PKEY_get_raw_public_key(key.get(), room(out), &size) != 1 || size != out.size()) {
        return Error{Fault::Os, 0, "derive a public key"};
    }
    return out;
}

}  // namespace

void fill_random(std::span<std::byte> out) noexcept {
    check(RAND_bytes(room(out), int_size(out)) == 1, "no random bytes");
}

Key random_key() noexcept {
    Key key;
    fill_random(key.bytes());
    return key;
}

Result<AgreementKey> make_agreement_key() {
    AgreementKey pair{.secret = random_key(), .shared = {}};
    pair.shared = HF_TRY(agreement_public(pair.secret));
    return pair;
}

Result<PublicBytes> agreement_public(const Key& secret) { return public_of(EVP_PKEY_X25519, secret); }

Result<Key> agree(const Key& ours, const PublicBytes& theirs) {
    const NativeKey own = private_key(EVP_PKEY_X25519, ours);
    const NativeKey peer{EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, raw(theirs), theirs.size())};
    if (!own || !peer) return Error{Fault::Os, 0, "take a key of X25519"};
    const KeyContext context{EVP_PKEY_CTX_new(own.get(), nullptr)};
    Key shared;
    std::size_t size = kKeyBytes;
    // OpenSSL refuses a result of all zeros, as RFC 7748 §6.1 allows and we need.
    if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
        EVP_PKEY_derive_set_peer(context.get(), peer.get()) != 1 ||
        EVP_PKEY_derive(context.get(), room(shared.bytes()), &size) != 1 || size != kKeyBytes) {
        return peer_fault("a public key with which no secret can be agreed on");
    }
    return shared;
}

Result<SigningKey> make_signing_key() {
    SigningKey pair{.secret = random_key(), .shared = {}};
    pair.shared = HF_TRY(public_of(EVP_PKEY_ED25519, pair.secret));
    return pair;
}

Result<SignatureBytes> sign(const Key& secret, Bytes message) {
    const NativeKey key = private_key(EVP_PKEY_ED25519, secret);
    const HashContext context{EVP_MD_CTX_new()};
    SignatureBytes out{};
    std::size_t size = out.size();
    if (!key || !context || EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) != 1 ||
        EVP_DigestSign(context.get(), room(out), &size, raw(message), message.size()) != 1 ||
        size != out.size()) {
        return Error{Fault::Os, 0, "sign"};
    }
    return out;
}

bool is_signed(const PublicBytes& key, Bytes message, Bytes signature) {
    const NativeKey native{EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, raw(key), key.size())};
    const HashContext context{EVP_MD_CTX_new()};
    return native && context && signature.size() == kSignatureBytes &&
           EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, native.get()) == 1 &&
           EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) ==
               1;
}

}  // namespace holdfast::agent
