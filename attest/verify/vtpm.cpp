// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/vtpm.hpp"

#include <algorithm>
#include <string_view>

#include "attest/text/encoding.hpp"
#include "vtpm/tpm2/attestation.hpp"

namespace holdfast::attest {
namespace {

constexpr std::uint32_t kFirmwarePcrs = 8;  // PCRs 0-7: nobody in a guest of ours extends them

// TCG EK Credential Profile 2.5, §3.2.12; TPM Key Attestation §3.
constexpr const char* kForEndorsement = "2.23.133.8.1";
constexpr const char* kForAttestation = "2.23.133.8.3";

/// What was found of the vTPM, under the names that it has there. That there is no revocation list goes
/// without saying: no host publishes one of its vTPMs.
void tell(const Findings& found, Findings& findings) {
    for (const Finding& finding : found.list()) {
        if (finding.code == Code::CertNoCrl) continue;
        const Code code = finding.code == Code::SrtmPcr ? Code::VtpmPcr : finding.code;
        findings.add(code, finding.detail.empty() ? "vTPM" : "vTPM: " + finding.detail);
    }
}

/// RFC 9562 §4: as the certificates have it.
std::string uuid_of(Bytes id) {
    std::string text = hex(id);
    if (text.size() != 32) return {};
    for (const std::size_t dash : {8U, 13U, 18U, 23U}) text.insert(dash, 1, '-');
    return text;
}

/// The authority that the launch statement names, if the policy trusts it.
std::optional<Certificate> authority(const VtpmEvidence& evidence, const VtpmPolicy& policy,
                                     Findings& findings) {
    auto ca = Certificate::from_der(evidence.part->ca_certificate);
    if (!ca) {
        findings.add(Code::CertMalformed, ca.error().what);
        return std::nullopt;
    }
    bool trusted = true;
    if (!std::ranges::equal(ca->digest(), evidence.launch->ca)) {
        findings.add(Code::VtpmCa, hex(ca->digest()));
        trusted = false;
    }
    const auto is_it = [&](const Certificate& root) { return root.digest() == ca->digest(); };
    if (!policy.roots.empty() && std::ranges::none_of(policy.roots, is_it)) {
        findings.add(Code::VtpmCaUnknown, hex(ca->digest()));
        trusted = false;
    }
    if (!trusted) return std::nullopt;
    return std::move(*ca);
}

/// The key of a certificate by that authority, for this purpose and of the VM's vTPM.
std::optional<PublicKey> certified(ChainVerifier& verifier, Bytes certificate, const char* purpose,
                                   const VtpmEvidence& evidence, Findings& findings) {
    const auto chain = verifier.verify({.presented = certificate, .at = evidence.at}, findings);
    if (!chain) return std::nullopt;
    const Certificate& leaf = chain->front();
    if (!leaf.is_for(purpose)) {
        findings.add(Code::VtpmCertificate, purpose);
        return std::nullopt;
    }
    const std::string id = leaf.subject_serial();
    if (id.empty() || id != uuid_of(evidence.launch->vtpm)) {
        findings.add(Code::VtpmOtherVm, id);
        return std::nullopt;
    }
    auto key = leaf.key();
    if (key) return std::move(*key);
    findings.add(Code::CertMalformed, key.error().what);
    return std::nullopt;
}

struct CertifiedKeys {
    std::optional<PublicKey> ak;
    std::optional<PublicKey> ek;
};

CertifiedKeys certified_keys(const VtpmEvidence& evidence, const VtpmPolicy& policy, Findings& findings) {
    const VtpmPart& part = *evidence.part;
    if (part.ak_certificate.empty() || part.ek_certificate.empty() || part.ca_certificate.empty()) {
        findings.add(Code::VtpmUncertified);
        return {};
    }
    const auto ca = authority(evidence, policy, findings);
    if (!ca) return {};
    auto verifier = ChainVerifier::create(std::span{&*ca, 1});
    if (!verifier) {
        findings.add(Code::CertUntrusted, verifier.error().what);
        return {};
    }
    return {.ak = certified(*verifier, part.ak_certificate, kForAttestation, evidence, findings),
            .ek = certified(*verifier, part.ek_certificate, kForEndorsement, evidence, findings)};
}

/// For the nonce as it is, or for what holdfast-vtpm makes of it for the host; else a replay.
std::optional<AskedBy> bind_asker(const Authenticated<tpm::Signed>& quote, Bytes nonce, Findings& findings) {
    Findings guest;
    if (tpm::bind_nonce(quote, nonce, guest)) return AskedBy::Guest;
    Findings host;
    if (tpm::bind_nonce(quote, tpm2::asked_by_host(nonce), host)) return AskedBy::Host;
    findings.append(guest);
    return std::nullopt;
}

void appraise_unchanged(const Bound<tpm::PcrValues>& pcrs, const tpm::ReferencePcrs& at_launch,
                        Findings& findings) {
    for (const auto& [alg, values] : at_launch) {
        for (const auto& [pcr, digest] : values) {
            const Digest* const now = pcr < kFirmwarePcrs ? pcrs->find(alg, pcr) : nullptr;
            if (now == nullptr || *now == digest) continue;
            findings.add(Code::VtpmChanged, std::string{hash_name(alg)} + " PCR " + std::to_string(pcr));
        }
    }
}

}  // namespace

VtpmReport verify_vtpm(const VtpmEvidence& evidence, const VtpmPolicy& policy, Findings& findings) {
    VtpmReport report;
    Findings found;
    const auto keys = certified_keys(evidence, policy, found);
    if (keys.ek) {
        Sha256 hash;
        hash.update(keys.ek->spki());
        const Digest256 digest = hash.finish();
        report.ek.assign(digest.begin(), digest.end());
    }
    // Both or none: an attestation key counts beside the endorsement key of the same vTPM.
    AkTrust trust{.by = AkTrust::By::Certificate, .names = {}, .certified = std::nullopt};
    if (keys.ak && keys.ek) trust.certified = keys.ak;
    tpm::QuotePolicy quote_policy = policy.quote;
    quote_policy.nonce_required = false;  // bind_asker
    const HostPart& quote = evidence.part->quote;
    report.quote = verify_quote({.attest = quote.attest,
                                 .signature = quote.signature,
                                 .key = quote.key,
                                 .trust = std::move(trust),
                                 .pcrs = quote.pcrs,
                                 .nonce = std::nullopt,
                                 .event_log = quote.event_log,
                                 .ima_list = quote.ima_list,
                                 .last_seen = evidence.last_seen,
                                 .keys = evidence.keys},
                                quote_policy, found);
    if (report.quote.authentic) {
        report.asked_by = bind_asker(*report.quote.authentic, evidence.launch->nonce, found);
        if (policy.by_guest && report.asked_by == AskedBy::Host) found.add(Code::VtpmAskedByHost);
        const auto is_it = [&](const std::vector<std::byte>& ek) { return ek == report.ek; };
        if (!policy.eks.empty() && std::ranges::none_of(policy.eks, is_it)) {
            found.add(Code::VtpmEk, "sha256:" + hex(report.ek));
        }
    }
    if (report.quote.pcrs) appraise_unchanged(*report.quote.pcrs, evidence.launch->pcrs, found);
    tell(found, findings);
    return report;
}

}  // namespace holdfast::attest
