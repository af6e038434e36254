// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/x509.hpp"

#include <algorithm>
#include <ctime>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "attest/text/encoding.hpp"
#include "sys/free_with.hpp"

namespace holdfast::attest {
namespace {

using Bio = std::unique_ptr<BIO, FreeWith<BIO_free>>;
using Object = std::unique_ptr<ASN1_OBJECT, FreeWith<ASN1_OBJECT_free>>;

// A chain of an endorsement is three certificates; bundles of several products have some more.
constexpr std::size_t kMaxCertificates = 16;
constexpr std::size_t kMaxCertificateBytes = std::size_t{256} << 10;
constexpr std::size_t kMaxCrlBytes = std::size_t{4} << 20;

const unsigned char* raw(std::span<const std::byte> bytes) noexcept {
    // SAFETY: bytes as bytes; libcrypto calls them unsigned char.
    return reinterpret_cast<const unsigned char*>(bytes.data());
}

/// OpenSSL's queue of errors is a thread's and would grow: what failed is said by ours.
Error refused(const char* what) noexcept {
    ERR_clear_error();
    return input_error(what);
}

bool is_pem(std::span<const std::byte> bytes) noexcept { return text_of(bytes).contains("-----BEGIN"); }

Bio reader_of(std::span<const std::byte> bytes) noexcept {
    return Bio{BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size()))};
}

std::int64_t seconds_of(const ASN1_TIME* time) noexcept {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) return 0;
    return ::timegm(&parts);
}

std::string entry_of(const X509_NAME* name, int nid) {
    const int index = X509_NAME_get_index_by_NID(name, nid, -1);
    if (index < 0 || X509_NAME_get_index_by_NID(name, nid, index) >= 0) return {};
    unsigned char* utf8 = nullptr;
    const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
    if (size < 0) return {};
    const std::string text{text_of(std::as_bytes(std::span{utf8, static_cast<std::size_t>(size)}))};
    OPENSSL_free(utf8);
    return text;
}

Digest256 digest_of(std::span<const std::byte> bytes) noexcept {
    Sha256 hash;
    hash.update(bytes);
    return hash.finish();
}

}  // namespace

void Certificate::Free::operator()(x509_st* x509) const noexcept { X509_free(x509); }
void Crl::Free::operator()(X509_crl_st* crl) const noexcept { X509_CRL_free(crl); }

Certificate::Certificate(const Certificate& other) noexcept
    : x509_{other.x509_.get()}, digest_{other.digest_} {
    check(X509_up_ref(x509_.get()) == 1, "X509_up_ref");
}
Certificate& Certificate::operator=(const Certificate& other) noexcept {
    *this = Certificate{other};
    return *this;
}

Result<Certificate> Certificate::adopt(x509_st* owned) {
    Native x509{owned};
    if (!x509) return refused("not a certificate");
    std::tm parts{};
    if (ASN1_TIME_to_tm(X509_get0_notBefore(x509.get()), &parts) != 1 ||
        ASN1_TIME_to_tm(X509_get0_notAfter(x509.get()), &parts) != 1) {
        return refused("a certificate whose dates are none");
    }
    Digest256 digest{};
    // SAFETY: an array of 32 bytes, which is what SHA-256 gives.
    if (X509_digest(x509.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(digest.data()), nullptr) !=
        1) {
        return refused("a certificate that cannot be hashed");
    }
    return Certificate{std::move(x509), digest};
}

Result<Certificate> Certificate::from_der(std::span<const std::byte> der) {
    if (der.size() > kMaxCertificateBytes) return input_error("a certificate of more than 256 KiB");
    const unsigned char* at = raw(der);
    Native x509{d2i_X509(nullptr, &at, static_cast<long>(der.size()))};
    if (!x509 || at != raw(der) + der.size()) return refused("not a certificate");
    return adopt(x509.release());
}

std::vector<std::byte> Certificate::der() const {
    unsigned char* der = nullptr;
    const int size = i2d_X509(x509_.get(), &der);
    check(size > 0, "a certificate cannot be written");
    const auto bytes = std::as_bytes(std::span{der, static_cast<std::size_t>(size)});
    std::vector<std::byte> copy{bytes.begin(), bytes.end()};
    OPENSSL_free(der);
    return copy;
}

std::string Certificate::subject() const {
    return entry_of(X509_get_subject_name(x509_.get()), NID_commonName);
}
std::string Certificate::issuer() const {
    return entry_of(X509_get_issuer_name(x509_.get()), NID_commonName);
}
std::string Certificate::subject_serial() const {
    return entry_of(X509_get_subject_name(x509_.get()), NID_serialNumber);
}
bool Certificate::is_for(const char* purpose) const noexcept {
    using Purposes = std::unique_ptr<EXTENDED_KEY_USAGE, FreeWith<EXTENDED_KEY_USAGE_free>>;
    const Object wanted{OBJ_txt2obj(purpose, 1)};
    check(wanted != nullptr, "an object identifier of ours that is none");
    // SAFETY: X509_get_ext_d2i gives the type that belongs to this NID.
    const Purposes purposes{
        static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(x509_.get(), NID_ext_key_usage, nullptr, nullptr))};
    ERR_clear_error();
    for (int i = 0; purposes && i < sk_ASN1_OBJECT_num(purposes.get()); ++i) {
        if (OBJ_cmp(sk_ASN1_OBJECT_value(purposes.get(), i), wanted.get()) == 0) return true;
    }
    return false;
}
bool Certificate::is_self_issued() const noexcept {
    return X509_NAME_cmp(X509_get_subject_name(x509_.get()), X509_get_issuer_name(x509_.get())) == 0;
}
std::int64_t Certificate::not_before() const noexcept { return seconds_of(X509_get0_notBefore(x509_.get())); }
std::int64_t Certificate::not_after() const noexcept { return seconds_of(X509_get0_notAfter(x509_.get())); }
Result<PublicKey> Certificate::key() const {
    EVP_PKEY* const key = X509_get0_pubkey(x509_.get());
    if (key == nullptr) return refused("a certificate whose key is not read");
    return PublicKey::from_native(key);
}

std::optional<std::span<const std::byte>> Certificate::extension(const char* oid) const noexcept {
    const Object object{OBJ_txt2obj(oid, 1)};
    check(object != nullptr, "an object identifier of ours that is none");
    const int index = X509_get_ext_by_OBJ(x509_.get(), object.get(), -1);
    if (index < 0) return std::nullopt;
    const ASN1_OCTET_STRING* const data = X509_EXTENSION_get_data(X509_get_ext(x509_.get(), index));
    return std::as_bytes(
        std::span{ASN1_STRING_get0_data(data), static_cast<std::size_t>(ASN1_STRING_length(data))});
}

Result<std::vector<Certificate>> parse_certificates(std::span<const std::byte> bytes) {
    if (bytes.size() > kMaxCertificateBytes) return input_error("certificates of more than 256 KiB");
    std::vector<Certificate> all;
    if (!is_pem(bytes)) {
        all.push_back(HF_TRY(Certificate::from_der(bytes)));
        return all;
    }
    const Bio bio = reader_of(bytes);
    while (X509* const x509 = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) {
        auto certificate = HF_TRY(Certificate::adopt(x509));
        if (all.size() == kMaxCertificates) return input_error("more than 16 certificates");
        all.push_back(std::move(certificate));
    }
    const bool at_the_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    if (!at_the_end || all.empty()) return input_error("PEM that is not of certificates");
    return all;
}

Result<Crl> Crl::parse(std::span<const std::byte> bytes) {
    if (bytes.size() > kMaxCrlBytes) return input_error("a revocation list of more than 4 MiB");
    const Digest256 digest = digest_of(bytes);
    X509_CRL* native = nullptr;
    if (is_pem(bytes)) {
        native = PEM_read_bio_X509_CRL(reader_of(bytes).get(), nullptr, nullptr, nullptr);
    } else {
        // Whole hexadecimal is never DER: that begins with 0x30 ("0") and has bytes that are no digits.
        const auto hex = bytes_of_hex(text_of(bytes));
        const std::span<const std::byte> der = hex ? std::span<const std::byte>{*hex} : bytes;
        const unsigned char* at = raw(der);
        native = d2i_X509_CRL(nullptr, &at, static_cast<long>(der.size()));
    }
    if (native == nullptr) return refused("not a revocation list");
    return Crl{native, digest};
}

Crl::Crl(const Crl& other) noexcept : crl_{other.crl_.get()}, digest_{other.digest_} {
    check(X509_CRL_up_ref(crl_.get()) == 1, "X509_CRL_up_ref");
}
Crl& Crl::operator=(const Crl& other) noexcept {
    *this = Crl{other};
    return *this;
}

std::int64_t Crl::last_update() const noexcept { return seconds_of(X509_CRL_get0_lastUpdate(crl_.get())); }
std::int64_t Crl::next_update() const noexcept { return seconds_of(X509_CRL_get0_nextUpdate(crl_.get())); }

}  // namespace holdfast::attest
