// SPDX-License-Identifier: Apache-2.0
// The quote of a VM's own vTPM, through the four stages. What vouches for it comes from below: the launch
// statement names the vTPM and who certified its keys, and the host's TPM vouches for the launch statement.
#pragma once

#include <optional>
#include <vector>

#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/verify/quote.hpp"

namespace holdfast::attest {

/// Through whom the quote was asked for (vtpm/tpm2/attestation.hpp).
enum class AskedBy : std::uint8_t { Guest, Host };

struct VtpmPolicy {
    bool required = false;
    bool by_guest = false;                    ///< through the guest's own TPM device, and not by the host
    tpm::QuotePolicy quote;                   ///< of it `pcrs`: reference values
    std::vector<std::vector<std::byte>> eks;  ///< SHA-256 of SubjectPublicKeyInfo; empty: any
    std::vector<Certificate> roots;  ///< who may certify vTPMs; empty: whom the launch statement names
};

/// Borrows its bytes.
struct VtpmEvidence {
    const VtpmPart* part = nullptr;
    const LaunchStatement* launch = nullptr;
    std::int64_t at = 0;
    std::optional<tpm::LastSeen> last_seen;
    tpm::KeyMemory* keys = nullptr;  ///< optional
};

struct VtpmReport {
    QuoteReport quote;
    std::vector<std::byte> ek;        ///< SHA-256 of the certified endorsement key; empty: there is none
    std::optional<AskedBy> asked_by;  ///< of a quote that is authentic, and for the right nonce
};

[[nodiscard]] VtpmReport verify_vtpm(const VtpmEvidence& evidence, const VtpmPolicy& policy,
                                     Findings& findings);

}  // namespace holdfast::attest
