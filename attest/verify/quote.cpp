// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/quote.hpp"

#include <algorithm>

#include "attest/formats/eventlog/appraise.hpp"
#include "attest/formats/ima/list.hpp"

namespace holdfast::attest {
namespace {

constexpr std::size_t kPcrs = 24;

void verify_log(Bytes bytes, const std::vector<eventlog::Vouched>& vouched, Findings& findings) {
    const auto log = eventlog::parse_log(bytes, eventlog::Kind::Tcg);
    if (!log) {
        findings.add(Code::LogMalformed, log.error().what);
        return;
    }
    // A bank that the log has no digests of is explained by the others that were quoted.
    std::vector<eventlog::Vouched> of_log;
    for (const eventlog::Vouched& one : vouched) {
        if (std::ranges::find((*log)->banks, static_cast<std::uint16_t>(one.bank), &eventlog::Bank::alg) !=
            (*log)->banks.end()) {
            of_log.push_back(one);
        }
    }
    if (const auto bound = eventlog::bind_log(*log, of_log, findings))
        eventlog::appraise_log(*bound, findings);
}

void verify_ima(Bytes bytes, const std::vector<eventlog::Vouched>& vouched, Findings& findings) {
    const auto list = ima::parse_list(bytes, findings);
    if (!list) return;
    std::vector<ima::BootPcrs> boot;
    for (const eventlog::Vouched& one : vouched) boot.push_back(one.values);
    bool vouched_for = false;
    for (const eventlog::Vouched& one : vouched) {
        if (!one.values[ima::kPcr]) continue;
        vouched_for = true;
        if (const auto bound = ima::bind_list(*list, *one.values[ima::kPcr], findings)) {
            ima::appraise_list(*bound, boot, findings);
        }
    }
    if (!vouched_for) findings.add(Code::ImaReplay, "PCR 10 was not quoted");
}

}  // namespace

std::vector<eventlog::Vouched> vouched_by(const Bound<tpm::PcrValues>& pcrs) {
    std::vector<eventlog::Vouched> all;
    for (const tpm::PcrValues::Bank& bank : pcrs->banks) {
        eventlog::Vouched& one = all.emplace_back(eventlog::Vouched{.bank = bank.alg, .values = {}});
        one.values.resize(kPcrs);
        for (const auto& [pcr, digest] : bank.values) {
            if (pcr < kPcrs) one.values[pcr] = digest;
        }
    }
    return all;
}

QuoteReport verify_quote(const QuoteEvidence& evidence, const tpm::QuotePolicy& policy, Findings& findings) {
    QuoteReport report;
    report.statement = or_malformed(tpm::parse_attest(evidence.attest), "attest", findings);
    const auto signature = or_malformed(tpm::parse_signature(evidence.signature), "signature", findings);
    const auto key = or_malformed(evidence.keys != nullptr ? evidence.keys->parse(evidence.key)
                                                           : tpm::parse_attestation_key(evidence.key),
                                  "attestation key", findings);
    if (!report.statement || !signature || !key) return report;

    const auto trusted = trust(*key, evidence.trust, findings);
    report.authentic =
        tpm::authenticate(*report.statement, *signature, *key, trusted, tpm::Wanted::Quote, findings);
    if (!report.authentic) return report;

    if (policy.nonce_required && !evidence.nonce) findings.add(Code::TpmNonceNotAsked);
    if (policy.log_required && !evidence.event_log) findings.add(Code::LogMissing);
    if (policy.ima_required && !evidence.ima_list) findings.add(Code::ImaMissing);
    if (evidence.nonce) (void)tpm::bind_nonce(*report.authentic, *evidence.nonce, findings);
    report.pcrs = tpm::bind_pcrs(*report.authentic, evidence.pcrs, findings);

    tpm::appraise_statement(*report.authentic, policy, evidence.last_seen, findings);
    tpm::appraise_selection(*report.authentic, policy, findings);
    if (!report.pcrs) return report;
    tpm::appraise_pcrs(*report.pcrs, policy, findings);
    const auto vouched = vouched_by(*report.pcrs);
    if (evidence.event_log) verify_log(*evidence.event_log, vouched, findings);
    if (evidence.ima_list) verify_ima(*evidence.ima_list, vouched, findings);
    return report;
}

}  // namespace holdfast::attest
