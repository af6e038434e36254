// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/cpu.hpp"

#include <algorithm>
#include <string>

#include "attest/formats/eventlog/appraise.hpp"
#include "attest/text/encoding.hpp"

namespace holdfast::attest {
namespace {

/// The CCEL log of a TD is held against its quote's RTMRs.
void judge_cc_log(Bytes bytes, const Authenticated<tdx::Certified>& quote, Findings& findings) {
    const auto log = eventlog::parse_log(bytes, eventlog::Kind::Cc);
    if (!log) {
        findings.add(Code::LogMalformed, log.error().what);
        return;
    }
    const auto vouched = tdx::vouched_by(quote);
    const auto bound = eventlog::bind_log(*log, std::span{&vouched, 1}, findings);
    if (bound) eventlog::appraise_log(*bound, findings);
}

tdx::Bundle bundle_of(const std::optional<Bytes>& json, Findings& findings) {
    if (!json) return {};
    auto bundle = tdx::parse_bundle(text_of(*json));
    if (bundle) return std::move(*bundle);
    findings.add(Code::TdxCollateralMalformed, bundle.error().what);
    return {};
}

tdx::Collateral collateral_of(const tdx::Bundle& bundle, const ChainRequest& known, ChainVerifier& roots,
                              Findings& findings) {
    tdx::Collateral collateral;
    if (bundle.tcb_info) {
        collateral.tcb_info = tdx::authenticate_tcb_info(*bundle.tcb_info, known, roots, findings);
    }
    if (bundle.qe_identity) {
        collateral.qe_identity = tdx::authenticate_qe_identity(*bundle.qe_identity, known, roots, findings);
    }
    return collateral;
}

std::optional<ChainVerifier> verifier_of(const std::vector<Certificate>& roots, Findings& findings) {
    auto verifier = ChainVerifier::create(roots);
    if (verifier) return std::move(*verifier);
    findings.add(Code::CertUntrusted, std::string{"CPU: "} + verifier.error().what);
    return std::nullopt;
}

void bind_measurement(Bytes measured, const LaunchStatement& launch, Findings& findings) {
    if (!std::ranges::equal(measured, launch.digest)) findings.add(Code::CpuLaunchDigest, hex(measured));
}

std::optional<Bytes> if_any(Bytes bytes) { return bytes.empty() ? std::nullopt : std::optional{bytes}; }

}  // namespace

SnpReport verify_snp(const SnpRequest& request, ChainVerifier& roots, const snp::Policy& policy,
                     Findings& findings) {
    SnpReport report;
    auto parsed = snp::parse_report(request.report);
    if (!parsed) {
        findings.add(Code::SnpMalformed, parsed.error().what);
        return report;
    }
    report.report = *parsed;
    const auto authentic = snp::authenticate(*parsed, request.chain, roots, findings);
    if (!authentic) return report;
    if (request.report_data) {
        report.bound = snp::bind_report_data(*authentic, *request.report_data, findings);
    }
    snp::appraise(*authentic, policy, findings);
    return report;
}

TdxReport verify_tdx(const TdxRequest& request, ChainVerifier& roots, const tdx::Policy& policy,
                     Findings& findings) {
    TdxReport report;
    auto parsed = tdx::parse_quote(request.quote);
    if (!parsed) {
        findings.add(Code::TdxMalformed, parsed.error().what);
        return report;
    }
    report.quote = *parsed;
    const auto bundle = bundle_of(request.collateral, findings);
    ChainRequest known = request.chain;
    std::vector<Crl> crls{known.crls.begin(), known.crls.end()};
    crls.insert(crls.end(), bundle.crls.begin(), bundle.crls.end());
    known.crls = crls;
    const auto authentic = tdx::authenticate(*parsed, known, roots, findings);
    if (!authentic) return report;
    if (request.report_data) {
        report.bound = tdx::bind_report_data(*authentic, *request.report_data, findings);
    }
    const auto collateral = collateral_of(bundle, known, roots, findings);
    if (request.event_log) judge_cc_log(*request.event_log, *authentic, findings);
    report.tcb = tdx::appraise(*authentic, collateral, policy, known.at, findings);
    return report;
}

CpuReport verify_cpu(const CpuEvidence& evidence, const CpuPolicy& policy, Findings& findings) {
    CpuReport report;
    const CpuPart& part = *evidence.part;
    const LaunchStatement& launch = *evidence.launch;
    if (part.tier != launch.tier)
        findings.add(Code::CpuTier, std::string{part.tier} + ", not " + launch.tier);
    const bool is_snp = part.tier == kTierSnp;
    auto roots = verifier_of(is_snp ? policy.snp_roots : policy.tdx_roots, findings);
    if (!roots) return report;
    const Digest256 question = cpu_question(launch.nonce, evidence.vtpm_key);
    const ChainRequest chain{.presented = is_snp ? part.endorsement : Bytes{},
                             .helpers = evidence.helpers,
                             .crls = evidence.crls,
                             .at = evidence.at};
    if (is_snp) {
        report.snp = verify_snp({.report = part.report, .chain = chain, .report_data = question}, *roots,
                                policy.snp, findings);
        if (report.snp.bound) bind_measurement((*report.snp.bound)->report.measurement, launch, findings);
        return report;
    }
    report.tdx = verify_tdx({.quote = part.report,
                             .chain = chain,
                             .collateral = if_any(part.endorsement),
                             .event_log = if_any(part.event_log),
                             .report_data = question},
                            *roots, policy.tdx, findings);
    // What is bound is of a TD: an enclave's quote has no report data that could be.
    if (report.tdx.bound) bind_measurement((*report.tdx.bound)->quote.td()->mrtd, launch, findings);
    return report;
}

}  // namespace holdfast::attest
