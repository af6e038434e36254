// SPDX-License-Identifier: Apache-2.0
// Kinds tpm-quote (a file for each part) and tpm-quote-json (one file, as Trustee's TPM attester writes it).
#include <ctime>

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

std::vector<Certificate> certificates(const std::vector<Bytes>& files) {
    std::vector<Certificate> all;
    for (const Bytes& bytes : files) {
        const auto some = parse_certificates(bytes);
        if (!some) throw BadCase{some.error().what};
        all.insert(all.end(), some->begin(), some->end());
    }
    return all;
}

/// By the AK's certificate if the case has one, else because the case names the key.
AkTrust trust_of(const Case& test, Findings& findings) {
    if (!test.has("ak_cert")) return {};
    auto roots = ChainVerifier::create(certificates(test.files("roots")));
    if (!roots) throw BadCase{roots.error().what};
    const Bytes leaf = test.file("ak_cert");
    const auto helpers = certificates(test.files("intermediates"));
    return trust_by_certificate(
        *roots, {.presented = leaf, .helpers = helpers, .at = test.at().value_or(std::time(nullptr))},
        findings);
}

Json parse_json(const Bytes& bytes) {
    // SAFETY: bytes as characters.
    const auto* const text = reinterpret_cast<const char*>(bytes.data());
    return Json::parse(text, text + bytes.size());
}

}  // namespace

Outcome judge_tpm_quote(const Case& test) {
    Outcome outcome;
    AkTrust trust = trust_of(test, outcome.findings);
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
