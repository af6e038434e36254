// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/azure.hpp"

namespace holdfast::attest {
namespace {

using azure::HclReport;

std::optional<Bound<HclReport>> verify_snp(const AzureEvidence& evidence, const AzurePolicy& policy,
                                           AzureReport& report, Findings& findings) {
    auto snp = snp::parse_report((*report.hcl)->hardware_report);
    if (!snp) {
        findings.add(Code::SnpMalformed, snp.error().what);
        return std::nullopt;
    }
    report.snp = *snp;
    if (evidence.parts->vcek.empty() || evidence.amd.verifier == nullptr) {
        findings.add(Code::AzureReportKind,
                     "an SNP report without an endorsement, or nobody is trusted to endorse it");
        return std::nullopt;
    }
    ChainRequest request = evidence.amd.known;
    request.presented = evidence.parts->vcek;
    const auto authentic = snp::authenticate(*snp, request, *evidence.amd.verifier, findings);
    if (!authentic) return std::nullopt;
    snp::appraise(*authentic, policy.snp, findings);
    return azure::bind_snp(*report.hcl, *authentic, findings);
}

std::optional<Bound<HclReport>> verify_tdx(const AzureEvidence& evidence, const AzurePolicy& policy,
                                           AzureReport& report, Findings& findings) {
    if (evidence.parts->td_quote.empty() || evidence.intel.verifier == nullptr) {
        findings.add(Code::AzureReportKind,
                     "a TD report without a quote, or nobody is trusted to certify it");
        return std::nullopt;
    }
    auto quote = tdx::parse_quote(evidence.parts->td_quote);
    if (!quote) {
        findings.add(Code::TdxMalformed, quote.error().what);
        return std::nullopt;
    }
    report.td_quote = *quote;
    const auto authentic =
        tdx::authenticate(*quote, evidence.intel.known, *evidence.intel.verifier, findings);
    if (!authentic) return std::nullopt;
    (void)tdx::appraise(*authentic, evidence.collateral, policy.tdx, evidence.intel.known.at, findings);
    return azure::bind_tdx(*report.hcl, *authentic, findings);
}

std::vector<tpm::GivenPcrs> given(const azure::TpmQuote& quote) {
    tpm::GivenPcrs pcrs;
    for (const azure::Blob& value : quote.pcrs) {
        pcrs.values.emplace(static_cast<std::uint32_t>(pcrs.values.size()), value);
    }
    return {std::move(pcrs)};
}

}  // namespace

AzureReport verify_azure(const AzureEvidence& evidence, const AzurePolicy& policy, Findings& findings) {
    AzureReport report;
    auto hcl = azure::parse_hcl_report(evidence.parts->hcl_report);
    if (!hcl) {
        findings.add(Code::AzureMalformed, hcl.error().what);
        return report;
    }
    report.hcl = *hcl;
    const auto bound = (*hcl)->hardware == azure::Hardware::Snp
                           ? verify_snp(evidence, policy, report, findings)
                           : verify_tdx(evidence, policy, report, findings);
    const auto key = azure::attestation_key_of(**hcl);
    if (!key) {
        findings.add(Code::AzureMalformed, key.error().what);
        return report;
    }
    AkTrust trust{.by = AkTrust::By::Certificate, .names = {}, .certified = {}};
    if (bound) trust.certified = *key;
    const auto spki = key->spki();
    const azure::TpmQuote& quote = evidence.parts->quote;
    report.quote = verify_quote({.attest = quote.message,
                                 .signature = quote.signature,
                                 .key = spki,
                                 .trust = std::move(trust),
                                 .pcrs = given(quote),
                                 .nonce = evidence.nonce,
                                 .event_log = {},
                                 .ima_list = {},
                                 .last_seen = evidence.last_seen},
                                policy.quote, findings);
    return report;
}

}  // namespace holdfast::attest
