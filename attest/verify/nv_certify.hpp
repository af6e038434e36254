// SPDX-License-Identifier: Apache-2.0
// A TPM's certification of an NV counter, through the four stages.
#pragma once

#include <optional>

#include "attest/formats/tpm/appraise.hpp"
#include "attest/formats/tpm/nv.hpp"
#include "attest/verify/trust.hpp"

namespace holdfast::attest {

/// Borrows its bytes.
struct NvEvidence {
    Bytes attest;     ///< TPMS_ATTEST
    Bytes signature;  ///< TPMT_SIGNATURE
    Bytes key;        ///< as in QuoteEvidence
    AkTrust trust;
    Bytes nv_public;             ///< of the index that is expected
    std::optional<Bytes> nonce;  ///< none: nobody asked for freshness
    std::optional<tpm::LastSeen> last_seen;
};

struct NvReport {
    std::optional<Parsed<tpm::Attest>> statement;
    std::optional<Authenticated<tpm::Signed>> authentic;
    std::optional<Bound<tpm::NvCounter>> counter;
};

[[nodiscard]] NvReport verify_nv_certify(const NvEvidence& evidence, const tpm::QuotePolicy& policy,
                                         const tpm::CounterPolicy& counter, Findings& findings);

}  // namespace holdfast::attest
