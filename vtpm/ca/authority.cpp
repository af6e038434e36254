// SPDX-License-Identifier: Apache-2.0
#include "vtpm/ca/authority.hpp"

#include <array>
#include <cstring>
#include <ctime>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/conf.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "sys/free_with.hpp"

namespace holdfast::vtpm::ca {
namespace {

using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using Number = std::unique_ptr<BIGNUM, FreeWith<BN_free>>;
using Config = std::unique_ptr<CONF, FreeWith<NCONF_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, FreeWith<X509_EXTENSION_free>>;
using Builder = std::unique_ptr<OSSL_PARAM_BLD, FreeWith<OSSL_PARAM_BLD_free>>;
using Params = std::unique_ptr<OSSL_PARAM, FreeWith<OSSL_PARAM_free>>;
using KeyContext = std::unique_ptr<EVP_PKEY_CTX, FreeWith<EVP_PKEY_CTX_free>>;

// The profile asks EK certificates not to expire before the TPM does: RFC 5280's "no end".
constexpr const char* kNoEnd = "99991231235959Z";
constexpr std::size_t kSerialBytes = 16;
constexpr const char* kCurve = "P-384";

Error failed(const char* what) { return Error{Fault::Os, 0, what}; }

Result<void> set_name(X509_NAME* name, const char* field, const std::string& value) {
    // SAFETY: text as unsigned char, for a C interface.
    const auto* const text = reinterpret_cast<const unsigned char*>(value.data());
    if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, text, static_cast<int>(value.size()), -1, 0) !=
        1) {
        return failed("put a name into a certificate");
    }
    return {};
}

Result<void> set_frame(X509* certificate) {
    std::array<unsigned char, kSerialBytes> serial{};
    if (RAND_bytes(serial.data(), kSerialBytes) != 1) return failed("draw a serial number");
    serial[0] = static_cast<unsigned char>((serial[0] & 0x7fU) | 0x40U);  // positive, always of one length
    const Number number{BN_bin2bn(serial.data(), kSerialBytes, nullptr)};
    const bool done = number && X509_set_version(certificate, X509_VERSION_3) == 1 &&
                      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) != nullptr &&
                      X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != nullptr &&
                      ASN1_TIME_set_string_X509(X509_getm_notAfter(certificate), kNoEnd) == 1;
    return done ? Result<void>{} : failed("fill in a certificate");
}

/// Extensions in the words of x509v3_config(5), with the sections they refer to.
Result<void> add_extensions(X509* certificate, X509* issuer, const std::string& sections,
                            std::span<const std::array<std::string, 2>> extensions) {
    const Bio text{BIO_new_mem_buf(sections.data(), static_cast<int>(sections.size()))};
    const Config config{NCONF_new(nullptr)};
    long line = 0;
    if (!text || !config || NCONF_load_bio(config.get(), text.get(), &line) != 1) {
        return failed("read the words of a certificate");
    }
    X509V3_CTX context{};
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509V3_set_nconf(&context, config.get());
    for (const auto& [name, value] : extensions) {
        const Extension extension{X509V3_EXT_nconf(config.get(), &context, name.c_str(), value.c_str())};
        if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
            return failed("add an extension to a certificate");
        }
    }
    return {};
}

std::string hex8(std::uint32_t value) {
    constexpr std::string_view kDigits{"0123456789ABCDEF"};
    std::string text;
    for (int shift = 28; shift >= 0; shift -= 4)
        text += kDigits[value >> static_cast<unsigned>(shift) & 0xfU];
    return text;
}

using PublicKey = std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>>;

Result<PublicKey> from_params(const char* type, OSSL_PARAM_BLD* builder) {
    const Params params{OSSL_PARAM_BLD_to_param(builder)};
    const KeyContext context{EVP_PKEY_CTX_new_from_name(nullptr, type, nullptr)};
    EVP_PKEY* key = nullptr;
    if (!params || !context || EVP_PKEY_fromdata_init(context.get()) != 1 ||
        EVP_PKEY_fromdata(context.get(), &key, EVP_PKEY_PUBLIC_KEY, params.get()) != 1) {
        return peer_fault("an EK is not a key that OpenSSL accepts");
    }
    return PublicKey{key};
}

Result<PublicKey> point_of(const char* group, std::span<const std::byte> x, std::span<const std::byte> y) {
    const Builder builder{OSSL_PARAM_BLD_new()};
    std::vector<std::byte> point{std::byte{4}};  // SEC 1, uncompressed
    point.insert(point.end(), x.begin(), x.end());
    point.insert(point.end(), y.begin(), y.end());
    if (!builder ||
        OSSL_PARAM_BLD_push_utf8_string(builder.get(), OSSL_PKEY_PARAM_GROUP_NAME, group, 0) != 1 ||
        OSSL_PARAM_BLD_push_octet_string(builder.get(), OSSL_PKEY_PARAM_PUB_KEY, point.data(),
                                         point.size()) != 1) {
        return failed("build a public key");
    }
    return from_params("EC", builder.get());
}

Result<PublicKey> public_key_of(const EkPublic& ek) {
    const Builder builder{OSSL_PARAM_BLD_new()};
    if (!builder) return failed("build a public key");
    if (ek.kind == EkKind::Rsa2048) {
        // SAFETY: bytes as unsigned char, for a C interface.
        const Number n{BN_bin2bn(reinterpret_cast<const unsigned char*>(ek.modulus.data()),
                                 static_cast<int>(ek.modulus.size()), nullptr)};
        const Number e{BN_new()};
        if (!n || !e || BN_set_word(e.get(), RSA_F4) != 1 ||
            OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_N, n.get()) != 1 ||
            OSSL_PARAM_BLD_push_BN(builder.get(), OSSL_PKEY_PARAM_RSA_E, e.get()) != 1) {
            return failed("build a public key");
        }
        return from_params("RSA", builder.get());
    }
    return point_of(ek.kind == EkKind::P256 ? "P-256" : "P-384", ek.x, ek.y);
}

Result<std::string> text_of(BIO* bio) {
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    if (size <= 0) return failed("write PEM");
    return std::string{data, static_cast<std::size_t>(size)};
}

Bio reader_of(const std::string& text) {
    return Bio{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

// What the certificate says of the TPM as a product: profile 3.2.9 (names of the TPM) and 3.2.10 (the
// specification it follows). OpenSSL drops what is in front of a name's first dot.
std::string sections_of(const Subject& subject) {
    return "[tpm]\na.2.23.133.2.1 = id:" + hex8(subject.manufacturer) +
           "\nb.2.23.133.2.2 = holdfast-vtpm\nc.2.23.133.2.3 = id:" + hex8(subject.firmware) +
           "\n[attributes]\nspecification = SEQUENCE:specification\n"
           "[specification]\ntype = OID:2.23.133.2.16\nvalues = SET:values\n"
           "[values]\nvalue = SEQUENCE:value\n"
           "[value]\nfamily = UTF8:2.0\nlevel = INTEGER:0\nrevision = INTEGER:164\n";
}

}  // namespace

void Authority::Free::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }
void Authority::Free::operator()(x509_st* certificate) const noexcept { X509_free(certificate); }

Result<Authority> Authority::generate(const std::string& host) {
    Key key{EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", kCurve)};
    Certificate certificate{X509_new()};
    if (!key || !certificate) return failed("make a key for the certificate authority");
    HF_TRY(set_frame(certificate.get()));
    X509_NAME* const name = X509_get_subject_name(certificate.get());
    HF_TRY(set_name(name, "O", "Holdfast"));
    HF_TRY(set_name(name, "OU", host));
    HF_TRY(set_name(name, "CN", "Holdfast vTPM CA"));
    if (X509_set_issuer_name(certificate.get(), name) != 1 ||
        X509_set_pubkey(certificate.get(), key.get()) != 1) {
        return failed("fill in a certificate");
    }
    const std::array<std::array<std::string, 2>, 3> extensions{{
        {"basicConstraints", "critical,CA:TRUE,pathlen:0"},
        {"keyUsage", "critical,keyCertSign,cRLSign"},
        {"subjectKeyIdentifier", "hash"},
    }};
    HF_TRY(add_extensions(certificate.get(), certificate.get(), "", extensions));
    if (X509_sign(certificate.get(), key.get(), EVP_sha384()) == 0) return failed("sign a certificate");
    return Authority{std::move(key), std::move(certificate)};
}

Result<Authority> Authority::load(const std::string& key_pem, const std::string& certificate_pem) {
    Key key{PEM_read_bio_PrivateKey(reader_of(key_pem).get(), nullptr, nullptr, nullptr)};
    Certificate certificate{PEM_read_bio_X509(reader_of(certificate_pem).get(), nullptr, nullptr, nullptr)};
    if (!key || !certificate) return input_error("it is no PEM of a key or a certificate");
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
        return input_error("key and certificate do not belong together");
    }
    return Authority{std::move(key), std::move(certificate)};
}

Result<std::string> Authority::key_pem() const {
    const Bio bio{BIO_new(BIO_s_secmem())};
    if (!bio || PEM_write_bio_PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return failed("write PEM");
    }
    return text_of(bio.get());
}

Result<std::string> Authority::certificate_pem() const {
    const Bio bio{BIO_new(BIO_s_mem())};
    if (!bio || PEM_write_bio_X509(bio.get(), certificate_.get()) != 1) return failed("write PEM");
    return text_of(bio.get());
}

std::string Authority::host() const {
    X509_NAME* const name = X509_get_subject_name(certificate_.get());
    std::array<char, 128> text{};
    const int size = X509_NAME_get_text_by_NID(name, NID_organizationalUnitName, text.data(), text.size());
    return size > 0 ? std::string{text.data()} : std::string{"unknown"};
}

Result<std::vector<std::byte>> Authority::issue(const EkPublic& ek, const Subject& subject) const {
    const auto key = HF_TRY(public_key_of(ek));
    // tcg-kp-EKCertificate
    const char* const usage =
        ek.kind == EkKind::Rsa2048 ? "critical,keyEncipherment" : "critical,keyAgreement";
    return issue(*key, {.key = usage, .extended = "2.23.133.8.1"}, subject);
}

Result<std::vector<std::byte>> Authority::issue(const tpm2::AkPublic& ak, const Subject& subject) const {
    const auto key = HF_TRY(point_of("P-256", ak.x, ak.y));
    // tcg-kp-AIKCertificate
    return issue(*key, {.key = "critical,digitalSignature", .extended = "2.23.133.8.3"}, subject);
}

Result<std::vector<std::byte>> Authority::issue(evp_pkey_st& key, const Usage& usage,
                                                const Subject& subject) const {
    const Certificate certificate{X509_new()};
    if (!certificate) return failed("make a certificate");
    HF_TRY(set_frame(certificate.get()));
    X509_NAME* const name = X509_get_subject_name(certificate.get());
    HF_TRY(set_name(name, "O", "Holdfast vTPM"));
    HF_TRY(set_name(name, "OU", subject.host));
    HF_TRY(set_name(name, "CN", subject.name));
    HF_TRY(set_name(name, "serialNumber", subject.id));
    if (X509_set_issuer_name(certificate.get(), X509_get_subject_name(certificate_.get())) != 1 ||
        X509_set_pubkey(certificate.get(), &key) != 1) {
        return failed("fill in a certificate");
    }
    const std::array<std::array<std::string, 2>, 6> extensions{{
        {"basicConstraints", "critical,CA:FALSE"},
        {"keyUsage", usage.key},
        {"extendedKeyUsage", usage.extended},
        {"subjectAltName", "dirName:tpm,URI:urn:uuid:" + subject.id},
        {"2.5.29.9", "ASN1:SEQUENCE:attributes"},  // subjectDirectoryAttributes
        {"authorityKeyIdentifier", "keyid:always"},
    }};
    HF_TRY(add_extensions(certificate.get(), certificate_.get(), sections_of(subject), extensions));
    if (X509_sign(certificate.get(), key_.get(), EVP_sha384()) == 0) return failed("sign a certificate");
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate.get(), &der);
    if (size <= 0) return failed("write a certificate");
    const auto bytes = std::as_bytes(std::span{der, static_cast<std::size_t>(size)});
    std::vector<std::byte> out{bytes.begin(), bytes.end()};
    OPENSSL_free(der);
    return out;
}

}  // namespace holdfast::vtpm::ca
