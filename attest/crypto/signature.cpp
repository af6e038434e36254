// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/signature.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "sys/free_with.hpp"

namespace holdfast::attest {
namespace {

using Context = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;
using EcSignature = std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>>;

// Below, a signature proves little; above, one verification takes as long as somebody else likes.
constexpr int kMinRsaBits = 1024;
constexpr int kMaxRsaBits = 8192;

struct Curve {
    KeyKind kind;
    std::string_view name;  // as key_kind_name() gives it
    const char* group;      // as OpenSSL calls it
    unsigned bits;
};
constexpr std::array kCurves{Curve{KeyKind::P256, "ECDSA P-256", SN_X9_62_prime256v1, 256},
                             Curve{KeyKind::P384, "ECDSA P-384", SN_secp384r1, 384},
                             Curve{KeyKind::P521, "ECDSA P-521", SN_secp521r1, 521}};

const unsigned char* raw(std::span<const std::byte> bytes) noexcept {
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

/// OpenSSL's queue of errors is a thread's and would grow: what failed is said by ours.
Error refused(const char* what) noexcept {
    ERR_clear_error();
    return input_error(what);
}

Number number_of(std::span<const std::byte> bytes) noexcept {
    return Number{BN_bin2bn(raw(bytes), static_cast<int>(bytes.size()), nullptr)};
}

/// The caller owns the key.
Result<EVP_PKEY*> key_from(const char* type, OSSL_PARAM_BLD* builder) {
    const Params params{OSSL_PARAM_BLD_to_param(builder)};
    const Context context{EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr)};
    EVP_PKEY* key = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
        return refused("the numbers are not a public key");
    }
    return key;
}

const EVP_MD* evp_hash(HashAlg alg) noexcept {
    switch (alg) {
        case HashAlg::Sha1: return EVP_sha1();
        case HashAlg::Sha256: return EVP_sha256();
        case HashAlg::Sha384: return EVP_sha384();
        case HashAlg::Sha512: return EVP_sha512();
    }
    bug("signature with an unknown hash");
}

/// OpenSSL takes r and s as DER; evidence has them as plain numbers.
Result<std::vector<unsigned char>> ecdsa_der(const Signature& signature) {
    Number r = number_of(signature.first);
    Number s = number_of(signature.second);
    EcSignature both{ECDSA_SIG_new()};
    if (!r || !s || !both || ECDSA_SIG_set0(both.get(), r.get(), s.get()) != 1) {
        return refused("the signature is not two numbers");
    }
    (void)r.release();  // both are `both`'s now
    (void)s.release();
    const int size = i2d_ECDSA_SIG(both.get(), nullptr);
    if (size <= 0) return refused("the signature is not two numbers");
    std::vector<unsigned char> der(static_cast<std::size_t>(size));
    unsigned char* end = der.data();
    i2d_ECDSA_SIG(both.get(), &end);
    return der;
}

Result<void> prepare(EVP_PKEY_CTX* context, const Signature& signature) {
    bool ready = context != nullptr && EVP_PKEY_verify_init(context) == 1 &&
                 EVP_PKEY_CTX_set_signature_md(context, evp_hash(signature.hash)) == 1;
    if (signature.scheme == Scheme::RsaPkcs1) {
        ready = ready && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) == 1;
    } else if (signature.scheme == Scheme::RsaPss) {
        // TPMs choose the salt's length by their firmware; the signature itself tells it.
        ready = ready && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_AUTO) == 1;
    }
    if (!ready) return refused("this kind of signature cannot be verified with the key");
    return {};
}

}  // namespace

std::string_view key_kind_name(KeyKind kind) noexcept {
    if (kind == KeyKind::Rsa) return "RSA";
    return std::ranges::find(kCurves, kind, &Curve::kind)->name;
}

void PublicKey::Free::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }

PublicKey::PublicKey(const PublicKey& other) noexcept
    : key_{other.key_.get()}, kind_{other.kind_}, bits_{other.bits_} {
    check(EVP_PKEY_up_ref(key_.get()) == 1, "EVP_PKEY_up_ref");
}
PublicKey& PublicKey::operator=(const PublicKey& other) noexcept {
    *this = PublicKey{other};
    return *this;
}

Result<PublicKey> PublicKey::judge(Native key) {
    if (EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_RSA) {
        const int bits = EVP_PKEY_get_bits(key.get());
        if (bits < kMinRsaBits || bits > kMaxRsaBits)
            return refused("RSA key of a size that is not verified");
        return PublicKey{std::move(key), KeyKind::Rsa, static_cast<unsigned>(bits)};
    }
    if (EVP_PKEY_get_base_id(key.get()) == EVP_PKEY_EC) {
        std::array<char, 64> group{};
        if (EVP_PKEY_get_group_name(key.get(), group.data(), group.size(), nullptr) == 1) {
            const auto* const curve = std::ranges::find_if(
                kCurves, [&](const Curve& row) { return std::string_view{row.group} == group.data(); });
            if (curve != kCurves.end()) return PublicKey{std::move(key), curve->kind, curve->bits};
        }
        return refused("EC key on a curve that is not verified");
    }
    return refused("key of a kind that is not verified");
}

Result<PublicKey> PublicKey::from_spki(std::span<const std::byte> der) {
    const unsigned char* at = raw(der);
    Native key{d2i_PUBKEY(nullptr, &at, static_cast<long>(der.size()))};
    if (!key || at != raw(der) + der.size()) return refused("not a public key (SubjectPublicKeyInfo, DER)");
    return judge(std::move(key));
}

Result<PublicKey> PublicKey::from_native(evp_pkey_st* key) {
    if (key == nullptr || EVP_PKEY_up_ref(key) != 1) return refused("there is no public key");
    return judge(Native{key});
}

Result<PublicKey> PublicKey::rsa(std::span<const std::byte> modulus, std::uint32_t exponent) {
    if (modulus.size() > kMaxRsaBits / 8) return refused("RSA key of a size that is not verified");
    const Number n = number_of(modulus);
    const Builder builder{OSSL_PARAM_BLD_new()};
    if (!n || !builder || OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
        OSSL_PARAM_BLD_push_uint32(builder.get(), OSSL_PKEY_PARAM_RSA_E, exponent) != 1) {
        return refused("the numbers are not a public key");
    }
    return judge(Native{HF_TRY(key_from("RSA", builder.get()))});
}

Result<PublicKey> PublicKey::ec(KeyKind kind, std::span<const std::byte> x, std::span<const std::byte> y) {
    const auto* const curve = std::ranges::find(kCurves, kind, &Curve::kind);
    check(curve != kCurves.end(), "EC key of a kind that is no curve");
    const std::size_t size = (curve->bits + 7) / 8;
    if (x.size() > size || y.size() > size) return refused("the numbers are not a point of the curve");
    constexpr std::byte kUncompressed{0x04};  // SEC 1, section 2.3.3
    std::vector<std::byte> point(1 + 2 * size);
    point[0] = kUncompressed;
    std::ranges::copy(x, point.begin() + static_cast<std::ptrdiff_t>(1 + size - x.size()));
    std::ranges::copy(y, point.end() - static_cast<std::ptrdiff_t>(y.size()));
    const Builder builder{OSSL_PARAM_BLD_new()};
    if (!builder ||
        OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, curve->group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                         point.size()) != 1) {
        return refused("the numbers are not a public key");
    }
    return judge(Native{HF_TRY(key_from("EC", builder.get()))});
}

std::vector<std::byte> PublicKey::spki() const {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key_.get(), &der);
    check(size > 0, "a public key cannot be written");
    const auto bytes = std::as_bytes(std::span{der, static_cast<std::size_t>(size)});
    std::vector<std::byte> copy{bytes.begin(), bytes.end()};
    OPENSSL_free(der);
    return copy;
}

bool operator==(const PublicKey& a, const PublicKey& b) noexcept {
    return EVP_PKEY_eq(a.key_.get(), b.key_.get()) == 1;
}

Result<void> verify(const PublicKey& key, const Signature& signature, std::span<const std::byte> message) {
    if ((signature.scheme == Scheme::Ecdsa) == (key.kind() == KeyKind::Rsa)) {
        return refused("the signature is of another kind than the key");
    }
    const std::size_t longest = (key.bits() + 7) / 8;
    if (signature.first.size() > longest || signature.second.size() > longest) {
        return refused("the signature is longer than the key");
    }
    const Context context{EVP_PKEY_CTX_new(key.native(), nullptr)};
    HF_TRY(prepare(context.get(), signature));
    const Digest digest = hash(signature.hash, message);
    int verified = 0;
    if (signature.scheme == Scheme::Ecdsa) {
        const auto der = HF_TRY(ecdsa_der(signature));
        verified = EVP_PKEY_verify(context.get(), der.data(), der.size(), raw(digest.bytes()),
                                   digest.bytes().size());
    } else {
        verified = EVP_PKEY_verify(context.get(), raw(signature.first), signature.first.size(),
                                   raw(digest.bytes()), digest.bytes().size());
    }
    if (verified != 1) return refused("the signature does not match");
    return {};
}

}  // namespace holdfast::attest
