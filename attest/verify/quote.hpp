// SPDX-License-Identifier: Apache-2.0
// A TPM's quote with all that comes along, through the four stages: the order of checks in one place.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attest/formats/eventlog/replay.hpp"
#include "attest/formats/tpm/appraise.hpp"
#include "attest/verify/trust.hpp"

namespace holdfast::attest {

/// Borrows its bytes.
struct QuoteEvidence {
    Bytes attest;     ///< TPMS_ATTEST
    Bytes signature;  ///< TPMT_SIGNATURE
    Bytes key;        ///< TPMT_PUBLIC, TPM2B_PUBLIC or SubjectPublicKeyInfo
    AkTrust trust;
    std::vector<tpm::GivenPcrs> pcrs;
    std::optional<Bytes> nonce;  ///< none: nobody asked for freshness
    std::optional<Bytes> event_log;
    std::optional<Bytes> ima_list;
    std::optional<tpm::LastSeen> last_seen;
    tpm::KeyMemory* keys = nullptr;  ///< optional
};

struct QuoteReport {
    std::optional<Parsed<tpm::Attest>> statement;         ///< what it says, whoever wrote it
    std::optional<Authenticated<tpm::Signed>> authentic;  ///< to be remembered, if all is accepted
    std::optional<Bound<tpm::PcrValues>> pcrs;
};

[[nodiscard]] QuoteReport verify_quote(const QuoteEvidence& evidence, const tpm::QuotePolicy& policy,
                                       Findings& findings);

/// The PCR values of each bank, as logs are held against them.
[[nodiscard]] std::vector<eventlog::Vouched> vouched_by(const Bound<tpm::PcrValues>& pcrs);

}  // namespace holdfast::attest
