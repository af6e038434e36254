// SPDX-License-Identifier: Apache-2.0
// The certificate authority of one host: says that an EK belongs to a vTPM of this host, and nothing else
// (TCG EK Credential Profile 2.5, section 3.2; RFC 5280).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sys/result.hpp"
#include "vtpm/ca/ek.hpp"
#include "vtpm/tpm2/attestation.hpp"

struct evp_pkey_st;
struct x509_st;

namespace holdfast::vtpm::ca {

/// What a certificate says of the vTPM beside its key.
struct Subject {
    std::string name;                ///< the vTPM's
    std::string id;                  ///< as a UUID
    std::string host;                ///< letters, digits, '.' and '-'
    std::uint32_t manufacturer = 0;  ///< TPM_PT_MANUFACTURER
    std::uint32_t firmware = 0;      ///< TPM_PT_FIRMWARE_VERSION_1
};

class Authority {
public:
    /// A new key (ECDSA P-384) and a certificate that it signs for itself.
    static Result<Authority> generate(const std::string& host);
    /// What key_pem() and certificate_pem() gave; a pair that does not fit is an Input error.
    static Result<Authority> load(const std::string& key_pem, const std::string& certificate_pem);

    [[nodiscard]] Result<std::string> key_pem() const;
    [[nodiscard]] Result<std::string> certificate_pem() const;
    /// The host that generate() was told.
    [[nodiscard]] std::string host() const;
    /// A certificate for an EK, DER.
    [[nodiscard]] Result<std::vector<std::byte>> issue(const EkPublic& key, const Subject& subject) const;
    /// For an attestation key of the same vTPM: the subject ties it to the EKs.
    [[nodiscard]] Result<std::vector<std::byte>> issue(const tpm2::AkPublic& key,
                                                       const Subject& subject) const;

private:
    struct Usage {
        const char* key;       // keyUsage
        const char* extended;  // extendedKeyUsage
    };
    [[nodiscard]] Result<std::vector<std::byte>> issue(evp_pkey_st& key, const Usage& usage,
                                                       const Subject& subject) const;
    struct Free {
        void operator()(evp_pkey_st* key) const noexcept;
        void operator()(x509_st* certificate) const noexcept;
    };
    using Key = std::unique_ptr<evp_pkey_st, Free>;
    using Certificate = std::unique_ptr<x509_st, Free>;
    Authority(Key key, Certificate certificate) noexcept
        : key_{std::move(key)}, certificate_{std::move(certificate)} {}
    Key key_;
    Certificate certificate_;
};

}  // namespace holdfast::vtpm::ca
