// SPDX-License-Identifier: Apache-2.0
// All evidence of a VM, held against a policy: its files in, one verdict out.
#include <algorithm>

#include "attest/text/encoding.hpp"
#include "attest/verify/whole.hpp"
#include "cli/policy_files.hpp"
#include "cli/verify.hpp"
#include "sys/sha2.hpp"

namespace holdfast::cli {
namespace {

using attest::Code;

void tell_pcrs(const attest::tpm::ReferencePcrs& pcrs, Facts& facts) {
    for (const auto& [alg, values] : pcrs) {
        for (const auto& [pcr, digest] : values) {
            facts[std::string{attest::hash_name(alg)}][std::to_string(pcr)] = hex(digest.bytes());
        }
    }
}

Facts facts_of(const attest::LaunchStatement& launch) {
    Facts facts{{"name", launch.name},      {"tier", launch.tier},       {"launch_digest", nullptr},
                {"memory", launch.memory},  {"cpus", launch.cpus},       {"clear_window_bytes", nullptr},
                {"shape", launch.shape},    {"collected_at", launch.at}, {"started_at", launch.started},
                {"reboots", launch.reboots}};
    if (!launch.digest.empty()) facts["launch_digest"] = hex(launch.digest);
    if (launch.window) facts["clear_window_bytes"] = *launch.window;
    if (!launch.vtpm.empty()) facts["vtpm"] = hex(launch.vtpm);
    if (!launch.pcrs.empty()) tell_pcrs(launch.pcrs, facts["pcrs"]);
    if (launch.bundle) {
        facts["bundle"] = {{"name", launch.bundle->name},
                           {"key", hex(launch.bundle->key)},
                           {"digest", hex(launch.bundle->digest)},
                           {"security_version", launch.bundle->security_version}};
    }
    return facts;
}

void tell_quote(const attest::QuoteReport& report, const std::string& ak, Facts& facts) {
    if (report.statement) {
        const auto& attest = **report.statement;
        facts = {{"ak", ak},
                 {"clock", attest.clock_info.clock},
                 {"reset_count", attest.clock_info.reset_count},
                 {"restart_count", attest.clock_info.restart_count}};
    }
    if (!report.pcrs) return;
    for (const auto& bank : (*report.pcrs)->banks) {
        Facts& values = facts["pcrs"][std::string{attest::hash_name(bank.alg)}];
        for (const auto& [pcr, digest] : bank.values) values[std::to_string(pcr)] = hex(digest.bytes());
    }
}

void tell(const attest::WholeReport& report, const std::string& ak, const std::string& guest_ak,
          Facts& facts) {
    tell_quote(report.host, ak, facts["host"]);
    if (report.launch) facts["launch"] = facts_of(*report.launch);
    if (report.vtpm) {
        Facts& vtpm = facts["vtpm"];
        tell_quote(report.vtpm->quote, guest_ak, vtpm);
        if (!report.vtpm->ek.empty()) vtpm["ek"] = "sha256:" + hex(report.vtpm->ek);
        if (report.vtpm->asked_by) {
            vtpm["asked_by"] = *report.vtpm->asked_by == attest::AskedBy::Guest ? "guest" : "host";
        }
    }
    if (report.cpu && report.cpu->snp.report) {
        facts["cpu"]["tier"] = attest::kTierSnp;
        tell_snp(report.cpu->snp, facts["cpu"]);
    } else if (report.cpu && report.cpu->tdx.quote) {
        facts["cpu"]["tier"] = attest::kTierTdx;
        tell_tdx(report.cpu->tdx, facts["cpu"]);
    }
    if (report.anchor) {
        facts["anchor"] = {{"counter", report.anchor->o},
                           {"strict_counter", report.anchor->s},
                           {"vtpm_version", report.anchor->leaf.version},
                           {"gaps", report.anchor->leaf.gaps},
                           {"generation", report.anchor->leaf.generation},
                           {"software_tpm", report.anchor->software_tpm}};
    }
}

/// The enrolled host whose key this is, if its endorsement key is one that the policy takes.
void add_enrolled(const Piece& piece, const PolicyFiles& files, const attest::HostPart& host,
                  attest::AkTrust& trust, attest::Findings& findings) {
    const attest::Policy& policy = piece.policy;
    const bool demanded = !policy.eks.empty() || !policy.tpm_roots.empty();
    if (policy.enrolled.empty() && !demanded) return;
    const auto key = attest::tpm::parse_attestation_key(host.key);
    if (!key || !(*key)->area) return;
    const auto found = files.enrolled.find(hex((*key)->area->name));
    if (found == files.enrolled.end()) {
        if (demanded || trust.names.empty()) findings.add(Code::HostNotEnrolled);
        return;
    }
    trust.names.push_back((*key)->area->name);
    const EnrolledHost& enrolled = found->second;
    const auto is_same = [&](const Blob& ek) { return hex(ek) == enrolled.ek; };
    if (!policy.eks.empty() && std::ranges::none_of(policy.eks, is_same)) {
        findings.add(Code::HostEk, "sha256:" + enrolled.ek);
    }
    if (policy.tpm_roots.empty()) return;
    if (enrolled.certificate.empty()) {
        findings.add(Code::HostNotEnrolled, "its endorsement key has no certificate");
        return;
    }
    auto verifier = attest::ChainVerifier::create(files.host_roots);
    const auto helpers = read_certificates(piece.options.chain);
    const auto chain =
        verifier ? verifier->verify({.presented = enrolled.certificate, .helpers = helpers, .at = piece.at},
                                    findings)
                 : std::nullopt;
    if (!verifier) findings.add(Code::HostNotEnrolled, verifier.error().what);
    if (!chain) return;
    Sha256 hash;
    if (const auto ek = chain->front().key()) hash.update(ek->spki());
    if (hex(hash.finish()) != enrolled.ek) findings.add(Code::HostEk, "the certificate is of another key");
}

}  // namespace

Verdict verify_evidence(const Piece& piece, const PolicyFiles& files) {
    Verdict verdict;
    const auto malformed = [&](const Error& error) {
        verdict.findings.add(Code::EvidenceMalformed, error.what);
        return verdict;
    };
    const auto parts = attest::decode_evidence(piece.evidence);
    if (!parts) return malformed(parts.error());
    const auto host = attest::decode_host(parts->host);
    if (!host) return malformed(host.error());
    std::optional<attest::VtpmPart> vtpm;
    if (parts->vtpm) {
        auto part = attest::decode_vtpm(*parts->vtpm);
        if (!part) return malformed(part.error());
        vtpm = std::move(*part);
    }

    verdict.signer = signer_of(host->key);
    const auto memory = piece.memory_of(verdict.signer);
    attest::WholePolicy policy = files.whole;
    const std::string guest = vtpm ? signer_of(vtpm->quote.key) : std::string{};
    const auto guest_memory = piece.memory_of(guest);
    if (memory) policy.counter.at_least = std::max(policy.counter.at_least.value_or(0), memory->counter);
    attest::AkTrust trust{
        .by = attest::AkTrust::By::Name, .names = piece.policy.ak_names, .certified = std::nullopt};
    add_enrolled(piece, files, *host, trust, verdict.findings);
    const VerifyOptions& options = piece.options;
    const auto read = [](const std::string& path) { return path.empty() ? Blob{} : read_evidence(path); };
    const Blob vek = read(options.certificate);
    const Blob collateral = read(options.collateral);
    const auto helpers = read_certificates(options.chain);
    const auto crls = piece.crls();
    const attest::WholeEvidence evidence{
        .parts = &*parts,
        .host = &*host,
        .trust = std::move(trust),
        .nonce = piece.nonce,
        .at = piece.at,
        .last_seen = memory ? std::optional{memory->clock} : std::nullopt,
        .vtpm = vtpm ? &*vtpm : nullptr,
        .vtpm_last_seen = guest_memory ? std::optional{guest_memory->clock} : std::nullopt,
        .keys = piece.keys,
        .vek = vek,
        .collateral = collateral,
        .helpers = helpers,
        .crls = crls};
    const auto report = attest::verify_whole(evidence, policy, verdict.findings);
    tell(report, verdict.signer, guest, verdict.facts);
    if (report.vtpm && report.vtpm->quote.authentic) {
        verdict.guest = {guest, (*report.vtpm->quote.authentic)->attest.clock_info};
    }
    if (report.host.authentic) verdict.seen = (*report.host.authentic)->attest.clock_info;
    if (memory) verdict.counter = memory->counter;
    if (report.anchor) verdict.counter = report.anchor->o;
    return verdict;
}

}  // namespace holdfast::cli
