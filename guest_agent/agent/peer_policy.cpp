// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/peer_policy.hpp"

#include <algorithm>
#include <ctime>

#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/keystore/keystore.hpp"
#include "sys/log.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::agent {
namespace {

/// This guest's own PCRs that say how it was started, as its vTPM has them now.
Result<attest::tpm::ReferencePcrs> own_pcrs() {
    constexpr auto kBank = attest::HashAlg::Sha256;
    const vtpm::OwnQuote own = HF_TRY(quote_own(Digest256{}));
    attest::tpm::ReferencePcrs pcrs;
    for (const vtpm::QuotedPcrs& bank : own.banks) {
        if (attest::known_hash(bank.alg) != kBank) continue;
        for (const auto& [pcr, value] : attest::tpm::given_pcrs(bank.alg, bank.pcrs, bank.values).values) {
            if ((keystore::kPcrs >> pcr & 1) == 0) continue;
            if (const auto digest = attest::digest_from(kBank, value)) pcrs[kBank][pcr] = *digest;
        }
    }
    if (pcrs.empty()) return input_error("this guest's vTPM has no PCRs of SHA-256");
    return pcrs;
}

Error refused(const attest::Findings& findings, std::string_view name) {
    for (const attest::Finding& finding : findings.list()) {
        const attest::CodeRow& row = attest::row_of(finding.code);
        if (row.stage == attest::Stage::Note) continue;
        log::warn("peer_refused", {{"name", name}, {"code", row.name}, {"detail", finding.detail}});
    }
    return peer_fault("a peer whose evidence this guest does not accept");
}

}  // namespace

Result<std::unique_ptr<PeerPolicy>> PeerPolicy::create(const Config& config, std::vector<std::string> names) {
    if (config.peer_hosts.empty())
        return input_error("agent.conf has no peer-host: no other guest is trusted");
    std::unique_ptr<PeerPolicy> made{new PeerPolicy{std::move(names)}};
    made->hosts_ = config.peer_hosts;
    attest::WholePolicy& policy = made->policy_;
    policy.quote.nonce_required = true;
    policy.quote.measured_boot = !config.peer_software_tpm;  // a software TPM has seen no firmware
    policy.anchor.required = true;
    policy.anchor.allow_software_tpm = config.peer_software_tpm;
    policy.vtpm.required = true;
    policy.vtpm.by_guest = true;
    policy.vtpm.quote.pcrs = HF_TRY(own_pcrs());
    return made;
}

Digest256 PeerPolicy::digest() const {
    WireWriter writer;
    for (const std::string& name : names_) writer.put_string(name);
    for (const auto& host : hosts_) writer.put_bytes(host);
    for (const auto& [alg, values] : policy_.vtpm.quote.pcrs) {
        for (const auto& [pcr, value] : values) writer.put_bytes(value.bytes());
    }
    Sha256 hash;
    hash.update(writer.bytes());
    return hash.finish();
}

Result<void> PeerPolicy::judge(const Digest256& binding, const group::KeyPackage& package) {
    if (std::ranges::find(names_, package.name) == names_.end())
        return peer_fault("a member of a name that is not in the list");
    return judge_evidence(binding, package.evidence, package.name);
}

Result<void> PeerPolicy::judge_evidence(const Digest256& binding, Bytes bytes, std::string_view name) const {
    const auto parts = HF_TRY(attest::decode_evidence(bytes));
    const auto host = HF_TRY(attest::decode_host(parts.host));
    std::optional<attest::VtpmPart> vtpm;
    if (parts.vtpm) vtpm = HF_TRY(attest::decode_vtpm(*parts.vtpm));
    attest::Findings findings;
    const attest::WholeEvidence evidence{
        .parts = &parts,
        .host = &host,
        .trust = {.by = attest::AkTrust::By::Name, .names = hosts_, .certified = std::nullopt},
        .nonce = binding,
        // Only certificates are held against it, and a host that sets it makes none that is trusted.
        .at = std::time(nullptr),
        .vtpm = vtpm ? &*vtpm : nullptr};
    (void)attest::verify_whole(evidence, policy_, findings);
    if (!findings.is_accepted()) return refused(findings, name);
    return {};
}

}  // namespace holdfast::agent
