// SPDX-License-Identifier: Apache-2.0
// Quotes of TDs: files "quote", "root", and collateral.
#include "tests/attest/vectors/collateral.hpp"
#include "tests/attest/vectors/cpu_fields.hpp"
#include "tests/attest/vectors/kinds.hpp"

namespace holdfast::attest::vectors {

Outcome judge_tdx(const Case& test) {
    Outcome outcome{.authentic = false, .policy_accepts = false, .findings = {}, .fields = Json::object()};
    const Bytes bytes = test.file("quote");
    const auto quote = tdx::parse_quote(bytes);
    if (!quote) {
        outcome.findings.add(Code::TdxMalformed, quote.error().what);
        return outcome;
    }
    outcome.fields = tdx_fields(**quote);
    Intel intel{test};
    const std::int64_t at = test.at().value_or(0);
    const auto authentic =
        tdx::authenticate(*quote, intel.known(at), intel.trust().verifier(), outcome.findings);
    if (authentic) {
        if (const auto nonce = test.nonce())
            (void)tdx::bind_report_data(*authentic, *nonce, outcome.findings);
        const auto collateral = intel.collateral(at, outcome.findings);
        const auto status = tdx::appraise(*authentic, collateral, tdx::Policy{}, at, outcome.findings);
        if (status) outcome.fields["tcb_status"] = tdx::status_name(*status);
    }
    outcome.authentic = outcome.findings.is_authentic();
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

}  // namespace holdfast::attest::vectors
