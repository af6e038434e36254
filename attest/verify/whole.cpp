// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/whole.hpp"

#include <algorithm>

namespace holdfast::attest {
namespace {

bool is_among(const std::vector<std::vector<std::byte>>& allowed, const std::vector<std::byte>& value) {
    return std::ranges::find(allowed, value) != allowed.end();
}

void appraise_bundle(const std::optional<BundleClaim>& bundle, const LaunchPolicy& policy,
                     Findings& findings) {
    if (policy.bundle_keys.empty() && policy.min_security_version == 0) return;
    if (!bundle) {
        findings.add(Code::LaunchNoBundle);
        return;
    }
    if (!policy.bundle_keys.empty() && !is_among(policy.bundle_keys, bundle->key)) {
        findings.add(Code::LaunchBundleKey, bundle->name);
    }
    if (bundle->security_version < policy.min_security_version) {
        findings.add(Code::LaunchSecurityVersion, std::to_string(bundle->security_version) + ", demanded " +
                                                      std::to_string(policy.min_security_version));
    }
}

void appraise_launch(const LaunchStatement& launch, const LaunchPolicy& policy, Findings& findings) {
    const bool tier_allowed = policy.tiers.empty()
                                  ? launch.tier != "none"
                                  : std::ranges::find(policy.tiers, launch.tier) != policy.tiers.end();
    if (!tier_allowed) findings.add(Code::LaunchTier, launch.tier);
    if (!policy.digests.empty() && !is_among(policy.digests, launch.digest)) {
        findings.add(Code::LaunchDigest, launch.digest.empty() ? "it has none" : hex(launch.digest));
    }
    if (policy.max_window && (!launch.window || *launch.window > *policy.max_window)) {
        findings.add(Code::LaunchWindow, launch.window ? std::to_string(*launch.window) : "no bound");
    }
    appraise_bundle(launch.bundle, policy, findings);
    for (const auto& [alg, values] : policy.pcrs) {
        const auto bank = launch.pcrs.find(alg);
        for (const auto& [pcr, digest] : values) {
            const bool same =
                bank != launch.pcrs.end() && bank->second.contains(pcr) && bank->second.at(pcr) == digest;
            if (!same) findings.add(Code::LaunchPcr, std::string{hash_name(alg)} + ":" + std::to_string(pcr));
        }
    }
}

void appraise_age(const WholeEvidence& evidence, std::uint64_t at, const WholePolicy& policy,
                  Findings& findings) {
    if (!policy.max_age) return;
    const auto now = static_cast<std::uint64_t>(std::max<std::int64_t>(evidence.at, 0));
    const std::uint64_t apart = now > at ? now - at : at - now;
    if (apart > *policy.max_age) findings.add(Code::EvidenceAge, std::to_string(apart) + " s");
}

/// Whether the host was asked about these parts and this nonce. A statement for another nonce is a replay,
/// and is called so.
bool bind_parts(const WholeEvidence& evidence, const LaunchStatement& launch,
                const Authenticated<tpm::Signed>& quote, Findings& findings) {
    bool bound = true;
    Bytes nonce = launch.nonce;
    if (evidence.nonce && !std::ranges::equal(*evidence.nonce, nonce)) {
        findings.add(Code::EvidenceNonce, "it holds " + hex(nonce));
        bound = false;
    }
    Findings other;
    if (!tpm::bind_nonce(quote, host_question(nonce, *evidence.parts), other)) {
        findings.add(Code::EvidenceBinding);
        bound = false;
    }
    return bound;
}

/// Of a hardware tier the host's word alone proves nothing, so there must be one.
std::optional<CpuReport> judge_cpu(const WholeEvidence& evidence, const LaunchStatement& launch,
                                   const CpuPolicy& policy, Findings& findings) {
    if (!evidence.parts->cpu) {
        if (launch.tier == kTierSnp || launch.tier == kTierTdx) findings.add(Code::CpuMissing, launch.tier);
        return std::nullopt;
    }
    auto part = decode_cpu(*evidence.parts->cpu);
    if (!part) {
        findings.add(Code::EvidenceMalformed, std::string{"CPU: "} + part.error().what);
        return std::nullopt;
    }
    const Bytes own = part->tier == kTierSnp ? evidence.vek : evidence.collateral;
    if (!own.empty()) part->endorsement = own;
    return verify_cpu({.part = &*part,
                       .launch = &launch,
                       .vtpm_key = evidence.vtpm != nullptr ? evidence.vtpm->quote.key : Bytes{},
                       .helpers = evidence.helpers,
                       .crls = evidence.crls,
                       .at = evidence.at},
                      policy, findings);
}

}  // namespace

WholeReport verify_whole(const WholeEvidence& evidence, const WholePolicy& policy, Findings& findings) {
    WholeReport report;
    auto launch = decode_launch_statement(evidence.parts->launch);
    if (!launch)
        findings.add(Code::EvidenceMalformed, std::string{"launch statement: "} + launch.error().what);
    else report.launch = std::move(*launch);

    const HostPart& host = *evidence.host;
    tpm::QuotePolicy quote_policy = policy.quote;
    quote_policy.nonce_required = false;  // it is in what the quote is bound to
    report.host = verify_quote({.attest = host.attest,
                                .signature = host.signature,
                                .key = host.key,
                                .trust = evidence.trust,
                                .pcrs = host.pcrs,
                                .nonce = std::nullopt,
                                .event_log = host.event_log,
                                .ima_list = host.ima_list,
                                .last_seen = evidence.last_seen,
                                .keys = evidence.keys},
                               quote_policy, findings);
    if (!evidence.nonce) findings.add(Code::TpmNonceNotAsked);
    if (!report.launch || !report.host.authentic) return report;
    report.is_bound = bind_parts(evidence, *report.launch, *report.host.authentic, findings);
    if (!report.is_bound) return report;

    appraise_launch(*report.launch, policy.launch, findings);
    appraise_age(evidence, report.launch->at, policy, findings);
    if (evidence.vtpm != nullptr) {
        report.vtpm = verify_vtpm({.part = evidence.vtpm,
                                   .launch = &*report.launch,
                                   .at = evidence.at,
                                   .last_seen = evidence.vtpm_last_seen,
                                   .keys = evidence.keys},
                                  policy.vtpm, findings);
    } else if (policy.vtpm.required) {
        findings.add(Code::VtpmNotQuoted);
    }
    report.cpu = judge_cpu(evidence, *report.launch, policy.cpu, findings);
    if (!evidence.parts->anchor) {
        if (policy.anchor.required) findings.add(Code::AnchorMissing);
        return report;
    }
    report.anchor = verify_anchor({.bundle = *evidence.parts->anchor,
                                   .key = host.key,
                                   .trust = evidence.trust,
                                   .question = anchor_question(report.launch->nonce, evidence.parts->launch),
                                   .vm = report.launch->vtpm,
                                   .counter = policy.counter,
                                   .last_seen = evidence.last_seen},
                                  policy.anchor, policy.quote, findings);
    return report;
}

}  // namespace holdfast::attest
