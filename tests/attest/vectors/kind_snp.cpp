// SPDX-License-Identifier: Apache-2.0
// SEV-SNP reports: files "report", "vek" (the endorsement, perhaps with its chain), "chain" (ASK, ASVK and
// the ARK that is to be trusted) and, if there are any, "crl".
#include "attest/verify/cpu.hpp"
#include "tests/attest/vectors/cpu_fields.hpp"
#include "tests/attest/vectors/kinds.hpp"
#include "tests/attest/vectors/trust.hpp"

namespace holdfast::attest::vectors {

Outcome judge_snp(const Case& test) {
    Outcome outcome{.authentic = false, .policy_accepts = false, .findings = {}, .fields = Json::object()};
    const Bytes bytes = test.file("report");
    const Bytes vek = test.file(test.has("vek") ? "vek" : "vcek");
    const auto report = snp::parse_report(bytes);
    if (!report) {
        outcome.findings.add(Code::SnpMalformed, report.error().what);
        return outcome;
    }
    outcome.fields = snp_fields(**report, snp::product_of(**report, vek));
    Trust amd{test, {"chain", "root"}, "amd"};
    amd.add_crls(test, {"crl"});
    const auto nonce = test.nonce();
    (void)verify_snp(
        {.report = bytes, .chain = amd.request(vek, test.at().value_or(0)), .report_data = nonce},
        amd.verifier(), {}, outcome.findings);
    outcome.authentic = outcome.findings.is_authentic();
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

}  // namespace holdfast::attest::vectors
