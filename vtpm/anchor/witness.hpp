// SPDX-License-Identifier: Apache-2.0
// What the host's TPM says of its host to verifiers: what it booted, and whose attestation key that is. The
// interface is a seam, as that of the counters.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "vtpm/anchor/counters.hpp"

namespace holdfast::anchor {

/// Values of one bank's PCRs, by ascending index.
struct QuotedBank {
    std::uint16_t alg = 0;   ///< TPM_ALG_ID
    std::uint32_t pcrs = 0;  ///< bit i: PCR i
    std::vector<std::byte> values;
};
/// What the host booted: TPM2_Quote, and the values whose digest it states.
struct HostQuote {
    Certified quote;
    std::vector<QuotedBank> banks;
};
/// For enrolment.
struct HostKeys {
    std::vector<std::byte> endorsement;  ///< TPM2B_PUBLIC
    std::vector<std::byte> certificate;  ///< of the endorsement key, in DER; empty: the TPM holds none
    std::vector<std::byte> attestation;  ///< TPM2B_PUBLIC
};
/// TPM2_MakeCredential's answer, by somebody who wants to know whether both keys are in one TPM.
struct Challenge {
    std::vector<std::byte> credential;  ///< inside of the TPM2B_ID_OBJECT
    std::vector<std::byte> secret;      ///< inside of the TPM2B_ENCRYPTED_SECRET
};

class Witness {
public:
    Witness() = default;
    Witness(const Witness&) = delete;
    Witness& operator=(const Witness&) = delete;
    virtual ~Witness() = default;

    /// The firmware's PCRs (0-7), IMA's (10) and a dynamic launch's (17-22), of the SHA-256 and SHA-384
    /// banks.
    virtual Result<HostQuote> quote(const Digest& about) = 0;
    virtual Result<HostKeys> host_keys() = 0;
    /// None: it was not made for these keys.
    virtual Result<std::optional<std::vector<std::byte>>> activate(const Challenge& challenge) = 0;
};

}  // namespace holdfast::anchor
