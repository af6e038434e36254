// SPDX-License-Identifier: Apache-2.0
// Certificates, revocation lists and keys that OpenSSL makes for tests: authorities that stand in for AMD and
// Intel. Synthetic: nobody but the test trusts them.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "attest/crypto/x509.hpp"
#include "sys/free_with.hpp"

namespace holdfast::attest::test {

using Buffer = std::vector<std::byte>;

inline constexpr std::int64_t kNow = 1'780'000'000;  // 2026-05-28
inline constexpr std::int64_t kYear = 365 * 86'400;

inline const unsigned char* raw(std::span<const std::byte> bytes) {
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    return reinterpret_cast<const unsigned char*>(bytes.data());
}
inline Buffer buffer(std::span<const unsigned char> bytes) {
    const auto span = std::as_bytes(bytes);
    return {span.begin(), span.end()};
}
inline Buffer buffer(std::string_view text) {
    const auto span = std::as_bytes(std::span{text});
    return {span.begin(), span.end()};
}

class Key {
public:
    static Key rsa() { return Key{EVP_RSA_gen(2048)}; }
    static Key ed25519() { return Key{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")}; }
    static Key ec(const char* curve) { return Key{EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", curve)}; }
    /// The same key, owned by both.
    static Key shared(EVP_PKEY* key) {
        EVP_PKEY_up_ref(key);
        return Key{key};
    }
    [[nodiscard]] EVP_PKEY* native() const { return key_.get(); }

    /// ECDSA over the message: r and s, big-endian, each of the curve's size.
    [[nodiscard]] Buffer sign(const EVP_MD* hash, std::span<const std::byte> message) const {
        const std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>> context{EVP_MD_CTX_new()};
        std::size_t size = 256;
        std::vector<unsigned char> der(size);
        EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, hash, nullptr, native()), 1);
        EXPECT_EQ(EVP_DigestSign(context.get(), der.data(), &size, raw(message), message.size()), 1);
        const unsigned char* at = der.data();
        const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> numbers{
            d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size))};
        const int width = (EVP_PKEY_get_bits(native()) + 7) / 8;
        std::vector<unsigned char> out(2 * static_cast<std::size_t>(width));
        BN_bn2binpad(ECDSA_SIG_get0_r(numbers.get()), out.data(), width);
        BN_bn2binpad(ECDSA_SIG_get0_s(numbers.get()), out.data() + width, width);
        return buffer(out);
    }
    /// The public point: x and y.
    [[nodiscard]] Buffer point() const {
        const int width = (EVP_PKEY_get_bits(native()) + 7) / 8;
        std::vector<unsigned char> out(2 * static_cast<std::size_t>(width));
        for (const auto& [name, at] : {std::pair{"qx", out.data()}, std::pair{"qy", out.data() + width}}) {
            BIGNUM* number = nullptr;
            EXPECT_EQ(EVP_PKEY_get_bn_param(native(), name, &number), 1);
            BN_bn2binpad(number, at, width);
            BN_free(number);
        }
        return buffer(out);
    }

private:
    explicit Key(EVP_PKEY* key) : key_{key} { EXPECT_TRUE(key_); }
    std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> key_;
};

struct CertificateForm {
    std::string subject;
    std::string issuer;  ///< empty: itself
    long serial = 0;
    std::int64_t not_before = kNow - kYear;
    std::int64_t not_after = kNow + kYear;
    bool is_ca = false;
    std::vector<std::pair<std::string, Buffer>> extensions{};  ///< object identifier, content
    std::string serial_number{};                               ///< of the subject; empty: none
};

inline void set_name(X509_NAME* name, const std::string& text) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, raw(buffer(text)), static_cast<int>(text.size()),
                               -1, 0);
}

/// As AMD does: PSS with SHA-384 where the key is RSA.
template <typename Object, typename Sign>
void sign_object(Object* object, const Key& key, Sign sign) {
    const std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>> context{EVP_MD_CTX_new()};
    EVP_PKEY_CTX* options = nullptr;
    const bool is_rsa = EVP_PKEY_get_base_id(key.native()) == EVP_PKEY_RSA;
    ASSERT_EQ(EVP_DigestSignInit(context.get(), &options, is_rsa ? EVP_sha384() : EVP_sha256(), nullptr,
                                 key.native()),
              1);
    if (is_rsa) {
        ASSERT_EQ(EVP_PKEY_CTX_set_rsa_padding(options, RSA_PKCS1_PSS_PADDING), 1);
        ASSERT_EQ(EVP_PKEY_CTX_set_rsa_pss_saltlen(options, 48), 1);
    }
    ASSERT_GT(sign(object, context.get()), 0);
}

inline void add_extension(X509* x509, int nid, const char* value) {
    X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
    ASSERT_NE(extension, nullptr);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

inline Certificate certificate(const CertificateForm& form, const Key& subject_key, const Key& issuer_key) {
    const std::unique_ptr<X509, FreeWith<X509_free>> x509{X509_new()};
    X509_set_version(x509.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509.get()), form.serial);
    ASN1_TIME_set(X509_getm_notBefore(x509.get()), form.not_before);
    ASN1_TIME_set(X509_getm_notAfter(x509.get()), form.not_after);
    set_name(X509_get_subject_name(x509.get()), form.subject);
    if (!form.serial_number.empty()) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(x509.get()), "serialNumber", MBSTRING_UTF8,
                                   raw(buffer(form.serial_number)),
                                   static_cast<int>(form.serial_number.size()), -1, 0);
    }
    set_name(X509_get_issuer_name(x509.get()), form.issuer.empty() ? form.subject : form.issuer);
    X509_set_pubkey(x509.get(), subject_key.native());
    if (form.is_ca) {
        add_extension(x509.get(), NID_basic_constraints, "critical,CA:TRUE");
        add_extension(x509.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    for (const auto& [oid, content] : form.extensions) {
        ASN1_OBJECT* const object = OBJ_txt2obj(oid.c_str(), 1);
        ASN1_OCTET_STRING* const data = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(data, raw(content), static_cast<int>(content.size()));
        X509_EXTENSION* const extension = X509_EXTENSION_create_by_OBJ(nullptr, object, 0, data);
        X509_add_ext(x509.get(), extension, -1);
        X509_EXTENSION_free(extension);
        ASN1_OCTET_STRING_free(data);
        ASN1_OBJECT_free(object);
    }
    sign_object(x509.get(), issuer_key, X509_sign_ctx);
    unsigned char* der = nullptr;
    const int size = i2d_X509(x509.get(), &der);
    auto parsed = Certificate::from_der(std::as_bytes(std::span{der, static_cast<std::size_t>(size)}));
    OPENSSL_free(der);
    EXPECT_TRUE(parsed.has_value());
    return std::move(*parsed);
}

struct CrlForm {
    std::string issuer;
    std::vector<long> revoked{};
    std::int64_t last_update = kNow - 86'400;
    std::int64_t next_update = kNow + 30 * 86'400;
};

inline Buffer crl_der(const CrlForm& form, const Key& issuer_key) {
    const std::unique_ptr<X509_CRL, FreeWith<X509_CRL_free>> crl{X509_CRL_new()};
    X509_CRL_set_version(crl.get(), 1);
    const std::unique_ptr<X509_NAME, FreeWith<X509_NAME_free>> name{X509_NAME_new()};
    set_name(name.get(), form.issuer);
    X509_CRL_set_issuer_name(crl.get(), name.get());
    const std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>> last{ASN1_TIME_set(nullptr, form.last_update)};
    const std::unique_ptr<ASN1_TIME, FreeWith<ASN1_TIME_free>> next{ASN1_TIME_set(nullptr, form.next_update)};
    X509_CRL_set1_lastUpdate(crl.get(), last.get());
    X509_CRL_set1_nextUpdate(crl.get(), next.get());
    for (const long serial : form.revoked) {
        X509_REVOKED* const entry = X509_REVOKED_new();
        const std::unique_ptr<ASN1_INTEGER, FreeWith<ASN1_INTEGER_free>> number{ASN1_INTEGER_new()};
        ASN1_INTEGER_set(number.get(), serial);
        X509_REVOKED_set_serialNumber(entry, number.get());
        X509_REVOKED_set_revocationDate(entry, last.get());
        X509_CRL_add0_revoked(crl.get(), entry);
    }
    X509_CRL_sort(crl.get());
    sign_object(crl.get(), issuer_key, X509_CRL_sign_ctx);
    unsigned char* der = nullptr;
    const int size = i2d_X509_CRL(crl.get(), &der);
    Buffer bytes = buffer(std::span{der, static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return bytes;
}

inline Crl crl(const CrlForm& form, const Key& issuer_key) {
    return std::move(*Crl::parse(crl_der(form, issuer_key)));
}

/// One after the other, as PEM.
inline std::string pem(std::span<const Certificate> certificates) {
    std::string text;
    for (const Certificate& one : certificates) {
        const Buffer der = one.der();
        std::vector<unsigned char> base64(der.size() * 2);
        const int size = EVP_EncodeBlock(base64.data(), raw(der), static_cast<int>(der.size()));
        text += "-----BEGIN CERTIFICATE-----\n";
        for (int i = 0; i < size; i += 64) {
            text.append(std::string{base64.begin() + i, base64.begin() + std::min(i + 64, size)} + "\n");
        }
        text += "-----END CERTIFICATE-----\n";
    }
    return text;
}

/// One reason, and not another: what a test of a check asks for.
inline std::string reasons(const Findings& findings) {
    std::string text;
    for (const Finding& finding : findings.list()) {
        if (row_of(finding.code).stage == Stage::Note) continue;
        text += std::string{text.empty() ? "" : " "} + std::string{row_of(finding.code).name};
    }
    return text;
}

}  // namespace holdfast::attest::test
