// SPDX-License-Identifier: Apache-2.0
// Evidence of an Azure confidential VM, from the hardware's report over the vTPM's key to the vTPM's quote:
// the order of checks in one place.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attest/crypto/x509.hpp"
#include "attest/formats/azure/evidence.hpp"
#include "attest/formats/azure/hcl.hpp"
#include "attest/formats/snp/policy.hpp"
#include "attest/formats/tdx/policy.hpp"
#include "attest/verify/quote.hpp"

namespace holdfast::attest {

/// Whom the verifier trusts to make CPUs; none: evidence of that vendor's is refused.
struct Vendor {
    ChainVerifier* verifier = nullptr;
    ChainRequest known;  ///< all but what is presented
};

struct AzurePolicy {
    tpm::QuotePolicy quote;
    snp::Policy snp;
    /// Azure's TDs run with exceptions for pages that are taken (SEPT_VE_DISABLE is 0): those go to the
    /// paravisor, which the TD's measurement covers, and not to the guest's kernel below it.
    tdx::Policy tdx{.allow_sept_ve = true};
};

/// Borrows its bytes.
struct AzureEvidence {
    const azure::Evidence* parts = nullptr;
    std::optional<Bytes> nonce;
    std::optional<tpm::LastSeen> last_seen;
    Vendor amd;
    Vendor intel;
    tdx::Collateral collateral;
};

/// What it says, whoever wrote it; borrows the bytes of the evidence.
struct AzureReport {
    std::optional<Parsed<azure::HclReport>> hcl;
    std::optional<Parsed<snp::Report>> snp;
    std::optional<Parsed<tdx::Quote>> td_quote;
    QuoteReport quote;
};

[[nodiscard]] AzureReport verify_azure(const AzureEvidence& evidence, const AzurePolicy& policy,
                                       Findings& findings);

}  // namespace holdfast::attest
