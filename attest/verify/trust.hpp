// SPDX-License-Identifier: Apache-2.0
// Who vouches for the key that signed a TPM's statement.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attest/crypto/x509.hpp"
#include "attest/formats/tpm/attestation_key.hpp"

namespace holdfast::attest {

using Bytes = std::span<const std::byte>;

/// Who vouches for the AK.
struct AkTrust {
    enum class By : std::uint8_t { Given, Name, Certificate };
    By by = By::Given;
    std::vector<std::vector<std::byte>> names;  ///< By::Name
    std::optional<PublicKey> certified;         ///< By::Certificate; none: its chain was refused
};

/// By the certificate in `request`; what is wrong with its chain is a finding.
[[nodiscard]] AkTrust trust_by_certificate(ChainVerifier& roots, const ChainRequest& request,
                                           Findings& findings);

[[nodiscard]] std::optional<Authenticated<tpm::AttestationKey>> trust(const Parsed<tpm::AttestationKey>& key,
                                                                      const AkTrust& by, Findings& findings);

/// What a parser returned, or its error as a finding.
template <typename T>
std::optional<T> or_malformed(Result<T> result, const char* what, Findings& findings) {
    if (result) return std::move(*result);
    findings.add(Code::TpmMalformed, std::string{what} + ": " + result.error().what);
    return std::nullopt;
}

}  // namespace holdfast::attest
