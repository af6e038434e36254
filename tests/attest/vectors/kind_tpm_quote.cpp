// SPDX-License-Identifier: Apache-2.0
// Kinds tpm-quote (a file for each part) and tpm-quote-json (one file, as Trustee's TPM attester writes it).
#include "attest/verify/quote.hpp"
#include "tests/attest/vectors/kinds.hpp"
#include "tests/attest/vectors/tpm_fields.hpp"

namespace holdfast::attest::vectors {
namespace {

struct Parts {
    Bytes attest;
    Bytes signature;
    Bytes key;
    Pcrs pcrs;
};

Outcome judge(const Case& test, const Parts& parts, AkTrust trust, Outcome outcome) {
    const auto nonce = test.nonce();
    const auto log = test.has("eventlog") ? std::optional{test.file("eventlog")} : std::nullopt;
    const auto list = test.has("ima") ? std::optional{test.file("ima")} : std::nullopt;
    const QuoteEvidence evidence{.attest = parts.attest,
                                 .signature = parts.signature,
                                 .key = parts.key,
                                 .trust = std::move(trust),
                                 .pcrs = given(test.changed(parts.pcrs)),
                                 .nonce = nonce,
                                 .event_log = log,
                                 .ima_list = list,
                                 .last_seen = last_seen_of(test)};
    tpm::QuotePolicy policy;
    policy.drtm_required = test.wants("require_drtm");
    const QuoteReport report = verify_quote(evidence, policy, outcome.findings);
    if (report.statement) outcome.fields = fields_of(**report.statement);
    outcome.authentic = outcome.findings.is_authentic();
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

Json parse_json(const Bytes& bytes) {
    // SAFETY: bytes as characters.
    const auto* const text = reinterpret_cast<const char*>(bytes.data());
    return Json::parse(text, text + bytes.size());
}

}  // namespace

Outcome judge_tpm_quote(const Case& test) {
    Outcome outcome;
    AkTrust trust;
    if (test.has("ak_cert")) throw BadCase{"certificates of AKs are not verified yet"};
    const Parts parts{.attest = test.file("attest"),
                      .signature = test.file("signature"),
                      .key = test.file("ak"),
                      .pcrs = pcrs_of(parse_json(test.file("pcrs")))};
    return judge(test, parts, std::move(trust), std::move(outcome));
}

Outcome judge_tpm_quote_json(const Case& test) {
    const Json evidence = parse_json(test.file("evidence"));
    const Json& quote = evidence.at("tpm_quote");
    const Parts parts{.attest = from_base64(quote.at("message").get<std::string>()),
                      .signature = from_base64(quote.at("signature").get<std::string>()),
                      .key = from_base64(evidence.at("ak_public").get<std::string>()),
                      .pcrs = pcrs_of(quote.at("pcrs"))};
    return judge(test, parts, AkTrust{}, Outcome{});
}

}  // namespace holdfast::attest::vectors
