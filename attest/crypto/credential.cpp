// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/credential.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string_view>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

#include "sys/free_with.hpp"
#include "sys/hmac.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest {
namespace {

using Bytes = std::span<const std::byte>;
using Key = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;

constexpr std::size_t kNumber = 32;  ///< of P-256
constexpr std::size_t kAesKey = 16;
constexpr unsigned kRsaBits = 2048;
constexpr std::string_view kIdentity = "IDENTITY";

unsigned char* room(std::span<std::byte> bytes) {
    return reinterpret_cast<unsigned char*>(bytes.data());  // SAFETY: may alias anything
}
const unsigned char* raw(Bytes bytes) {
    return reinterpret_cast<const unsigned char*>(bytes.data());  // SAFETY: may alias anything
}

Result<std::array<std::byte, kNumber>> coordinate(EVP_PKEY* key, const char* which) {
    BIGNUM* owned = nullptr;
    std::array<std::byte, kNumber> out{};
    const bool got = EVP_PKEY_get_bn_param(key, which, &owned) == 1;
    const std::unique_ptr<BIGNUM, FreeWith<BN_free>> number{owned};
    if (!got || BN_bn2binpad(number.get(), room(out), static_cast<int>(out.size())) < 0) {
        return input_error("a key without coordinates");
    }
    return out;
}

Result<std::array<std::byte, kNumber>> shared_x(EVP_PKEY* ours, EVP_PKEY* theirs) {
    const std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>> context{EVP_PKEY_CTX_new(ours, nullptr)};
    std::array<std::byte, kNumber> x{};
    std::size_t size = x.size();
    if (!context || EVP_PKEY_derive_init(context.get()) != 1 ||
        EVP_PKEY_derive_set_peer(context.get(), theirs) != 1 ||
        EVP_PKEY_derive(context.get(), room(x), &size) != 1 || size != x.size()) {
        return input_error("no secret can be agreed on with this endorsement key");
    }
    return x;
}

void put_label(tpm2::Writer& writer, std::string_view label) {
    writer.put_raw(std::as_bytes(std::span{label}));
    writer.put(std::uint8_t{0});
}

/// Part 1 §11.4.10.3; one round is enough for SHA-256's length.
Digest256 kdfe(Bytes z, std::string_view label, Bytes party_u, Bytes party_v) {
    tpm2::Writer in;
    in.put(std::uint32_t{1});
    in.put_raw(z);
    put_label(in, label);
    in.put_raw(party_u);
    in.put_raw(party_v);
    Sha256 hash;
    hash.update(in.take());
    return hash.finish();
}

Digest256 hmac(Bytes key, Bytes bytes) {
    HmacSha256 running{key};
    running.update(bytes);
    return running.finish();
}

/// Part 1 §11.4.10.2.
Digest256 kdfa(Bytes seed, std::string_view label, Bytes context, std::uint32_t bits) {
    tpm2::Writer in;
    in.put(std::uint32_t{1});
    put_label(in, label);
    in.put_raw(context);
    in.put(bits);
    return hmac(seed, in.take());
}

Result<std::vector<std::byte>> aes_cfb(Bytes key, Bytes plain) {
    const std::unique_ptr<EVP_CIPHER_CTX, FreeWith<EVP_CIPHER_CTX_free>> context{EVP_CIPHER_CTX_new()};
    constexpr std::array<unsigned char, 16> kNoVector{};
    std::vector<std::byte> out(plain.size());
    int size = 0;
    if (!context ||
        EVP_EncryptInit_ex(context.get(), EVP_aes_128_cfb128(), nullptr, raw(key), kNoVector.data()) != 1 ||
        EVP_EncryptUpdate(context.get(), room(out), &size, raw(plain), static_cast<int>(plain.size())) != 1) {
        return input_error("a secret cannot be encrypted");
    }
    return out;
}

void put_sized(tpm2::Writer& writer, Bytes bytes) {
    writer.put(static_cast<std::uint16_t>(bytes.size()));
    writer.put_raw(bytes);
}

struct Seed {
    Digest256 value{};
    std::vector<std::byte> secret;  ///< from which only the endorsement key's owner gets it
};

/// Part 1 §C.6.3.
Result<Seed> seed_for_p256(const PublicKey& endorsement) {
    const Key ephemeral{EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")};
    if (!ephemeral) return input_error("no key can be made");
    const auto x = HF_TRY(coordinate(ephemeral.get(), OSSL_PKEY_PARAM_EC_PUB_X));
    const auto y = HF_TRY(coordinate(ephemeral.get(), OSSL_PKEY_PARAM_EC_PUB_Y));
    const auto their_x = HF_TRY(coordinate(endorsement.native(), OSSL_PKEY_PARAM_EC_PUB_X));
    const auto z = HF_TRY(shared_x(ephemeral.get(), endorsement.native()));
    tpm2::Writer point;
    put_sized(point, x);
    put_sized(point, y);
    return Seed{.value = kdfe(z, kIdentity, x, their_x), .secret = point.take()};
}

bool use_oaep(EVP_PKEY_CTX* context) {
    if (EVP_PKEY_encrypt_init(context) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(context, EVP_sha256()) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(context, EVP_sha256()) != 1) {
        return false;
    }
    // With its zero byte; the context takes it over, but only if it takes it.
    constexpr std::size_t kSize = kIdentity.size() + 1;
    void* const label = OPENSSL_memdup(kIdentity.data(), kSize);
    if (EVP_PKEY_CTX_set0_rsa_oaep_label(context, label, static_cast<int>(kSize)) == 1) return true;
    OPENSSL_free(label);
    return false;
}

/// Part 1 §B.10.4.
Result<Seed> seed_for_rsa(const PublicKey& endorsement) {
    Seed seed;
    std::ranges::copy(random_secret(seed.value.size()), seed.value.begin());
    const std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>> context{
        EVP_PKEY_CTX_new(endorsement.native(), nullptr)};
    seed.secret.resize(kRsaBits / 8);
    std::size_t size = seed.secret.size();
    if (!context || !use_oaep(context.get()) ||
        EVP_PKEY_encrypt(context.get(), room(seed.secret), &size, raw(seed.value), seed.value.size()) != 1 ||
        size != seed.secret.size()) {
        return input_error("nothing can be encrypted to this endorsement key");
    }
    return seed;
}

Result<Seed> seed_for(const PublicKey& endorsement) {
    if (endorsement.kind() == KeyKind::P256) return seed_for_p256(endorsement);
    if (endorsement.kind() == KeyKind::Rsa && endorsement.bits() == kRsaBits)
        return seed_for_rsa(endorsement);
    return input_error("an endorsement key of another kind than P-256 and RSA-2048");
}

}  // namespace

Result<Credential> make_credential(const PublicKey& endorsement, std::span<const std::byte> name,
                                   std::span<const std::byte> credential) {
    if (credential.size() > sizeof(Digest256))
        return input_error("a secret that is too long for a credential");
    Seed seed = HF_TRY(seed_for(endorsement));

    tpm2::Writer inner;
    put_sized(inner, credential);
    const Digest256 cipher_key = kdfa(seed.value, "STORAGE", name, 8 * kAesKey);
    const auto encrypted = HF_TRY(aes_cfb(std::span{cipher_key}.first(kAesKey), inner.take()));
    const Digest256 mac_key = kdfa(seed.value, "INTEGRITY", {}, 8 * sizeof(Digest256));
    std::vector<std::byte> authentic = encrypted;
    authentic.insert(authentic.end(), name.begin(), name.end());

    tpm2::Writer blob;
    put_sized(blob, hmac(mac_key, authentic));
    blob.put_raw(encrypted);
    return Credential{.blob = blob.take(), .secret = std::move(seed.secret)};
}

std::vector<std::byte> random_secret(std::size_t size) {
    std::vector<std::byte> bytes(size);
    check(RAND_bytes(room(bytes), static_cast<int>(size)) == 1, "no random bytes");
    return bytes;
}

}  // namespace holdfast::attest
