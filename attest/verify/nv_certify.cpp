// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/nv_certify.hpp"

namespace holdfast::attest {

NvReport verify_nv_certify(const NvEvidence& evidence, const tpm::QuotePolicy& policy,
                           const tpm::CounterPolicy& counter, Findings& findings) {
    NvReport report;
    report.statement = or_malformed(tpm::parse_attest(evidence.attest), "attest", findings);
    const auto signature = or_malformed(tpm::parse_signature(evidence.signature), "signature", findings);
    const auto key = or_malformed(tpm::parse_attestation_key(evidence.key), "attestation key", findings);
    const auto index = or_malformed(tpm::parse_nv_public(evidence.nv_public), "NV public area", findings);
    if (!report.statement || !signature || !key || !index) return report;

    const auto trusted = trust(*key, evidence.trust, findings);
    report.authentic =
        tpm::authenticate(*report.statement, *signature, *key, trusted, tpm::Wanted::NvCertify, findings);
    if (!report.authentic) return report;

    if (policy.nonce_required && !evidence.nonce) findings.add(Code::TpmNonceNotAsked);
    if (evidence.nonce) (void)tpm::bind_nonce(*report.authentic, *evidence.nonce, findings);
    report.counter = tpm::bind_counter(*report.authentic, *index, findings);

    tpm::appraise_statement(*report.authentic, policy, evidence.last_seen, findings);
    if (report.counter) tpm::appraise_counter(*report.counter, counter, findings);
    return report;
}

}  // namespace holdfast::attest
