// SPDX-License-Identifier: Apache-2.0
// Azure's confidential VMs: file "evidence", or the parts "hcl_report", "tpm_quote" and "vcek" or "td_quote".
#include "attest/text/encoding.hpp"
#include "attest/verify/azure.hpp"
#include "sys/sha2.hpp"
#include "tests/attest/vectors/collateral.hpp"
#include "tests/attest/vectors/cpu_fields.hpp"
#include "tests/attest/vectors/kinds.hpp"
#include "tests/attest/vectors/tpm_fields.hpp"

namespace holdfast::attest::vectors {
namespace {

Result<azure::Evidence> evidence_of(const Case& test) {
    if (test.has("evidence")) return azure::parse_evidence(text_of(test.file("evidence")));
    azure::Evidence evidence;
    evidence.hcl_report = test.file("hcl_report");
    evidence.quote =
        HF_TRY(azure::parse_tpm_quote(text_of(test.file(test.has("tpm_quote") ? "tpm_quote" : "quote"))));
    if (test.has("vcek") || test.has("vek")) evidence.vcek = test.file(test.has("vek") ? "vek" : "vcek");
    if (test.has("td_quote")) evidence.td_quote = test.file("td_quote");
    return evidence;
}

/// The case's changes of PCR values.
void change_pcrs(const Case& test, azure::TpmQuote& quote) {
    Pcrs pcrs;
    for (const azure::Blob& value : quote.pcrs) pcrs.emplace(static_cast<std::uint32_t>(pcrs.size()), value);
    quote.pcrs.clear();
    for (const auto& [index, value] : test.changed(std::move(pcrs))) {
        if (index >= quote.pcrs.size()) quote.pcrs.resize(index + std::size_t{1});
        quote.pcrs[index] = value;
    }
}

Json azure_fields(const AzureReport& report, const azure::Evidence& evidence) {
    Json fields = Json::object();
    for (std::size_t i = 0; i < evidence.quote.pcrs.size(); ++i) {
        fields["pcr_sha256"][std::to_string(i)] = hex(evidence.quote.pcrs[i]);
    }
    if (report.quote.statement) fields["quote"] = fields_of(**report.quote.statement);
    if (report.hcl)
        fields["var_data_sha256"] = hex(hash(HashAlg::Sha256, (*report.hcl)->variable_data).bytes());
    if (report.snp) fields["snp"] = snp_fields(**report.snp, snp::product_of(**report.snp, evidence.vcek));
    if (report.td_quote) fields["tdx"] = tdx_fields(**report.td_quote);
    return fields;
}

}  // namespace

Outcome judge_azure(const Case& test) {
    Outcome outcome{.authentic = false, .policy_accepts = false, .findings = {}, .fields = Json::object()};
    auto parts = evidence_of(test);
    if (!parts) {
        outcome.findings.add(Code::AzureMalformed, parts.error().what);
        return outcome;
    }
    change_pcrs(test, parts->quote);
    const std::int64_t at = test.at().value_or(0);
    Trust amd{test, {"chain"}, "amd"};
    Intel intel{test};
    const auto nonce = test.nonce();
    AzureEvidence evidence{.parts = &*parts,
                           .nonce = nonce,
                           .last_seen = last_seen_of(test),
                           .amd = {.verifier = &amd.verifier(), .known = amd.request({}, at)},
                           .intel = {.verifier = &intel.trust().verifier(), .known = intel.known(at)},
                           .collateral = intel.collateral(at, outcome.findings)};
    const AzureReport report = verify_azure(evidence, AzurePolicy{}, outcome.findings);
    outcome.fields = azure_fields(report, *parts);
    outcome.authentic = outcome.findings.is_authentic();
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

}  // namespace holdfast::attest::vectors
