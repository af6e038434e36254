// SPDX-License-Identifier: Apache-2.0
// All evidence of a VM that is right, and one broken in one way for each reason that is about the whole, its
// vTPM or its anchor: the reason is reported, alone.
#include "attest/verify/whole.hpp"

#include <algorithm>
#include <functional>
#include <ranges>

#include <gtest/gtest.h>

#include "sys/wire/codec.hpp"
#include "tests/unit/attest/fake_authority.hpp"
#include "tests/unit/attest/fake_host.hpp"
#include "tests/unit/attest/fake_snp.hpp"
#include "tests/unit/attest/fake_tpm.hpp"
#include "vtpm/tpm2/attestation.hpp"

namespace holdfast::attest {
namespace {

using test::Buffer;
using test::CertificateForm;
using test::copy;
using test::FakeTpm;
using test::filled;
using test::Key;
using test::kNow;
using test::Quoted;
using test::sha256;
using test::some_pcrs;

constexpr const char* kVm = "02020202-0202-0202-0202-020202020202";

Digest digest_of(const Buffer& bytes) { return *digest_from(HashAlg::Sha256, bytes); }

/// extendedKeyUsage with the one purpose of TCG's arc 2.23.133.8.
std::pair<std::string, Buffer> purpose(std::uint8_t last) {
    return {"2.5.29.37",
            {std::byte{0x30}, std::byte{7}, std::byte{6}, std::byte{5}, std::byte{0x67}, std::byte{0x81},
             std::byte{0x05}, std::byte{8}, std::byte{last}}};
}
constexpr std::uint8_t kEndorsement = 1;
constexpr std::uint8_t kAttestation = 3;

/// The anchor's part by another hand than attest/evidence/anchor.cpp: docs/anchor.md, "What a verifier gets".
struct AnchorPart {
    Buffer leaf = filled(145, 0);
    std::uint64_t o = 7;
    std::uint64_t s = 3;
    std::uint64_t certified_o = 7;
    bool software_tpm = false;
    std::optional<Buffer> root;
    std::optional<Buffer> certified_statement;
    std::function<void(Buffer&)> spoil_key = [](Buffer&) {};
    std::function<void(Buffer&)> spoil = [](Buffer&) {};

    AnchorPart() {
        std::ranges::fill(leaf | std::views::take(16), std::byte{2});  // the VM
        leaf[88] = std::byte{2};                                       // it runs
    }

    static Buffer nv_public(bool orderly) {
        tpm2::Writer auth_value;
        auth_value.put(std::uint32_t{0x16b});  // TPM_CC_PolicyAuthValue
        tpm2::Writer change_auth;
        change_auth.put(std::uint32_t{0x16c});  // TPM_CC_PolicyCommandCode
        change_auth.put(std::uint32_t{0x13b});  // TPM_CC_NV_ChangeAuth
        const Buffer policy = sha256({sha256({filled(32, 0), auth_value.take()}), change_auth.take()});
        tpm2::Writer area;
        area.put(orderly ? std::uint32_t{0x01804860} : std::uint32_t{0x01804861});
        area.put(std::uint16_t{0x000b});
        area.put(orderly ? std::uint32_t{0x22060014} | tpm::nv::ORDERLY : std::uint32_t{0x22060014});
        area.put(static_cast<std::uint16_t>(policy.size()));
        area.put_raw(policy);
        area.put(std::uint16_t{8});
        return area.take();
    }
    static Buffer certified(const Buffer& statement, bool orderly, std::uint64_t value) {
        tpm2::Writer contents;
        contents.put(value);
        test::Statement made{.type = tpm::st::ATTEST_NV, .nonce = sha256({statement})};
        made.nv_name = tpm::parse_nv_public(nv_public(orderly))->name;
        made.nv_contents = contents.take();
        return made.encode();
    }
    [[nodiscard]] Buffer bytes(const FakeTpm& tpm, const Buffer& question) const {
        const Buffer zero = filled(1, 0);
        const Buffer one = filled(1, 1);
        const Buffer sibling = filled(32, 9);
        const Buffer ledger = sha256({one, sha256({zero, leaf}), sibling});
        WireWriter statement;
        statement.put_string("HFS1");
        statement.put_bytes(root.value_or(ledger));
        statement.put(o);
        statement.put(s);
        statement.put(std::uint32_t{5});
        statement.put_bytes(filled(16, 4));
        statement.put(static_cast<std::uint8_t>(software_tpm ? 1 : 0));
        statement.put_bytes(sha256({zero, question}));
        const Buffer said = copy(statement.bytes());

        WireWriter out;
        out.put_string("HFE1");
        out.put_bytes(said);
        for (const bool orderly : {true, false}) {
            const Buffer attest =
                certified(certified_statement.value_or(said), orderly, orderly ? certified_o : s);
            out.put_bytes(attest);
            out.put_bytes(tpm.sign(attest));
        }
        Buffer key = tpm.public_area();
        spoil_key(key);
        out.put_bytes(key);
        out.put_bytes(leaf);
        out.put(std::uint32_t{0});
        out.put(std::uint32_t{1});
        out.put_bytes(sibling);
        out.put(std::uint32_t{0});
        out.put(std::uint32_t{0});
        Buffer bundle = copy(out.bytes());
        spoil(bundle);
        return bundle;
    }
};

/// A host, a VM with a vTPM and an anchor, and what somebody far away knows of them.
struct World {
    FakeTpm host_tpm{FakeTpm::Key::P256};
    FakeTpm vtpm{FakeTpm::Key::P256};
    Key ca_key = Key::ec("P-256");
    Key ek = Key::ec("P-256");
    CertificateForm ca{.subject = "CA", .is_ca = true};
    CertificateForm ak_form{.subject = "AK",
                            .issuer = "CA",
                            .serial = 1,
                            .extensions = {purpose(kAttestation)},
                            .serial_number = kVm};
    CertificateForm ek_form{.subject = "EK",
                            .issuer = "CA",
                            .serial = 2,
                            .extensions = {purpose(kEndorsement)},
                            .serial_number = kVm};
    LaunchStatement launch{
        .at = static_cast<std::uint64_t>(kNow) - 5,
        .nonce = filled(16, 1),
        .name = "web",
        .tier = "software",
        .digest = filled(48, 1),
        .shape = "shape\n",
        .memory = 1U << 29,
        .cpus = 2,
        .window = 1U << 26,
        .vtpm = filled(16, 2),
        .ca = {},
        .pcrs = {},
        .bundle =
            BundleClaim{.key = filled(32, 3), .name = "b", .digest = filled(48, 4), .security_version = 7}};
    AnchorPart anchor;
    std::map<std::uint32_t, Buffer> vtpm_pcrs = some_pcrs();
    std::optional<Buffer> vtpm_nonce;       // none: the launch statement's
    std::optional<Buffer> anchored_launch;  // none: this one
    std::optional<Buffer> nonce = filled(16, 1);
    WholePolicy policy;
    bool names_ca = false;  // the policy trusts this authority of vTPMs and no other
    bool has_vtpm = true;
    bool has_anchor = true;
    std::optional<test::FakeSnp> snp;  // what it measured and was asked for is put in
    Buffer own_vek;
    std::function<void(Buffer&)> spoil_cpu = [](Buffer&) {};  // before anything vouches for it
    std::function<void(VtpmPart&)> spoil_vtpm = [](VtpmPart&) {};
    std::function<void(Buffer&)> spoil_launch = [](Buffer&) {};  // before anything vouches for it
    std::function<void(Evidence&)> swap = [](Evidence&) {};      // behind the host's TPM's back

    World() {
        const Digest pcr4 = digest_of(some_pcrs()[4]);
        launch.pcrs[HashAlg::Sha256][4] = pcr4;
        policy.launch.digests = {launch.digest};
        policy.launch.tiers = {"software"};
        policy.launch.bundle_keys = {launch.bundle->key};
        policy.launch.min_security_version = 7;
        policy.launch.max_window = 1U << 26;
        policy.launch.pcrs[HashAlg::Sha256][4] = pcr4;
        policy.anchor.required = true;
        policy.max_age = 60;
        policy.vtpm.required = true;
        policy.vtpm.by_guest = true;
        policy.vtpm.quote.pcrs[HashAlg::Sha256][8] = digest_of(some_pcrs()[8]);
    }
    void make_snp() {
        snp.emplace();
        launch.tier = "sev-snp";
        policy.launch.tiers = {"sev-snp"};
        policy.cpu.snp_roots = {snp->root()};
    }
    [[nodiscard]] Buffer cpu_part(const Buffer& vtpm_key) {
        std::ranges::copy(launch.digest, snp->report.begin() + 0x90);
        std::ranges::copy(cpu_question(launch.nonce, vtpm_key), snp->report.begin() + 0x50);
        snp->sign();
        const std::vector chain{snp->endorsement(), snp->middle()};
        const Buffer endorsement = test::buffer(test::pem(chain));
        return encode(
            CpuPart{.tier = kTierSnp, .report = snp->report, .endorsement = endorsement, .event_log = {}});
    }
    [[nodiscard]] Buffer ek_digest() const { return sha256({PublicKey::from_native(ek.native())->spki()}); }

    Findings verify() {
        const Buffer ca_der = certificate(ca, ca_key, ca_key).der();
        if (names_ca) policy.vtpm.roots.push_back(*Certificate::from_der(ca_der));
        if (launch.ca.empty()) launch.ca = copy(Certificate::from_der(ca_der)->digest());
        const Buffer ak_der = certificate(ak_form, Key::shared(vtpm.native()), ca_key).der();
        const Buffer ek_der = certificate(ek_form, ek, ca_key).der();
        const Quoted vtpm_quote{vtpm, vtpm_nonce.value_or(launch.nonce), vtpm_pcrs};
        VtpmPart vtpm_part{.quote = vtpm_quote.part(),
                           .ak_certificate = ak_der,
                           .ek_certificate = ek_der,
                           .ca_certificate = ca_der};
        spoil_vtpm(vtpm_part);
        Buffer said = encode(launch);
        spoil_launch(said);
        const Buffer anchor_bytes =
            anchor.bytes(host_tpm, copy(anchor_question(launch.nonce, anchored_launch.value_or(said))));
        const Buffer vtpm_bytes = encode(vtpm_part);
        Buffer cpu_bytes;
        if (snp) cpu_bytes = cpu_part(vtpm_quote.key);
        spoil_cpu(cpu_bytes);
        Evidence parts{.host = {}, .anchor = std::nullopt, .launch = said};
        if (!cpu_bytes.empty()) parts.cpu = cpu_bytes;
        if (has_anchor) parts.anchor = anchor_bytes;
        if (has_vtpm) parts.vtpm = vtpm_bytes;
        const Quoted host{host_tpm, copy(host_question(launch.nonce, parts)), some_pcrs()};
        const HostPart host_part = host.part();
        swap(parts);
        Findings findings;
        const WholeReport report =
            verify_whole({.parts = &parts,
                          .host = &host_part,
                          .trust = {},
                          .nonce = nonce ? std::optional{std::vector<std::byte>{*nonce}} : std::nullopt,
                          .at = kNow,
                          .last_seen = std::nullopt,
                          .vtpm = has_vtpm ? &vtpm_part : nullptr,
                          .vtpm_last_seen = std::nullopt,
                          .vek = own_vek},
                         policy, findings);
        if (findings.is_accepted()) {
            EXPECT_TRUE(report.is_bound && report.anchor && report.vtpm);
            EXPECT_EQ(report.cpu && report.cpu->snp.bound, snp.has_value());
        }
        return findings;
    }
};

struct Break {
    std::vector<Code> codes;
    std::function<void(World&)> spoil;
};

TEST(Whole, EvidenceThatIsRightIsAccepted) {
    World world;
    EXPECT_EQ(test::reasons(world.verify()), "");
    World named;
    named.policy.vtpm.eks = {named.ek_digest()};
    named.names_ca = true;
    named.policy.counter.at_least = 7;
    EXPECT_EQ(test::reasons(named.verify()), "");
}

void expect_each(const std::vector<Break>& breaks) {
    for (const Break& broken : breaks) {
        World world;
        broken.spoil(world);
        std::string expected;
        for (const Code code : broken.codes) {
            expected += std::string{expected.empty() ? "" : " "} + std::string{row_of(code).name};
        }
        EXPECT_EQ(test::reasons(world.verify()), expected);
    }
}

TEST(Whole, OfALaunchIsReportedForItsReasonAndNoOther) {
    const Buffer other = filled(48, 8);
    expect_each({
        {{Code::LaunchTier}, [](World& w) { w.launch.tier = "none"; }},
        {{Code::LaunchTier},
         [](World& w) {
             w.policy.launch.tiers.clear();
             w.launch.tier = "none";
         }},
        {{Code::LaunchDigest}, [&](World& w) { w.launch.digest = other; }},
        {{Code::LaunchWindow}, [](World& w) { w.launch.window = (1U << 26) + 1; }},
        {{Code::LaunchWindow}, [](World& w) { w.launch.window.reset(); }},
        {{Code::LaunchNoBundle}, [](World& w) { w.launch.bundle.reset(); }},
        {{Code::LaunchBundleKey}, [&](World& w) { w.launch.bundle->key = filled(32, 9); }},
        {{Code::LaunchSecurityVersion}, [](World& w) { w.launch.bundle->security_version = 6; }},
        {{Code::LaunchPcr}, [](World& w) { w.launch.pcrs.clear(); }},
        {{Code::EvidenceAge}, [](World& w) { w.launch.at = static_cast<std::uint64_t>(kNow) - 61; }},
        {{Code::EvidenceAge}, [](World& w) { w.launch.at = static_cast<std::uint64_t>(kNow) + 61; }},
        {{Code::EvidenceMalformed}, [](World& w) { w.spoil_launch = [](Buffer& b) { b.push_back({}); }; }},
        {{Code::EvidenceNonce}, [](World& w) { w.nonce = filled(16, 5); }},
        {{Code::TpmNonceNotAsked}, [](World& w) { w.nonce.reset(); }},
        {{Code::EvidenceBinding}, [](World& w) { w.swap = [](Evidence& e) { e.anchor.reset(); }; }},
        {{Code::EvidenceBinding}, [](World& w) { w.swap = [](Evidence& e) { e.vtpm.reset(); }; }},
        {{Code::VtpmNotQuoted}, [](World& w) { w.has_vtpm = false; }},
        {{Code::AnchorMissing}, [](World& w) { w.has_anchor = false; }},
    });
}

TEST(Whole, OfAVtpmIsReportedForItsReasonAndNoOther) {
    const Buffer junk = filled(9, 7);
    const Buffer elsewhere =
        certificate({.subject = "CA", .is_ca = true}, Key::ec("P-256"), Key::ec("P-256")).der();
    const std::string other_vm = "03020202-0202-0202-0202-020202020202";
    expect_each({
        {{Code::VtpmUncertified},
         [](World& w) { w.spoil_vtpm = [](VtpmPart& v) { v.ek_certificate = {}; }; }},
        {{Code::VtpmUncertified},
         [](World& w) { w.spoil_vtpm = [](VtpmPart& v) { v.ak_certificate = {}; }; }},
        {{Code::VtpmUncertified},
         [](World& w) { w.spoil_vtpm = [](VtpmPart& v) { v.ca_certificate = {}; }; }},
        {{Code::CertMalformed},
         [&](World& w) { w.spoil_vtpm = [&](VtpmPart& v) { v.ca_certificate = junk; }; }},
        {{Code::VtpmCa},
         [&](World& w) { w.spoil_vtpm = [&](VtpmPart& v) { v.ca_certificate = elsewhere; }; }},
        {{Code::VtpmCaUnknown},
         [&](World& w) { w.policy.vtpm.roots.push_back(*Certificate::from_der(elsewhere)); }},
        {{Code::CertUntrusted}, [](World& w) { w.ca.issuer = "somebody else"; }},
        {{Code::CertMalformed}, [](World& w) { w.ek = Key::ed25519(); }},
        {{Code::VtpmCertificate}, [](World& w) { w.ak_form.extensions = {purpose(kEndorsement)}; }},
        {{Code::VtpmCertificate}, [](World& w) { w.ek_form.extensions.clear(); }},
        {{Code::VtpmOtherVm}, [&](World& w) { w.ak_form.serial_number = other_vm; }},
        {{Code::VtpmOtherVm}, [&](World& w) { w.ek_form.serial_number = other_vm; }},
        {{Code::CertExpired}, [](World& w) { w.ak_form.not_after = kNow - 1; }},
        {{Code::VtpmEk}, [](World& w) { w.policy.vtpm.eks = {filled(32, 1)}; }},
        {{Code::VtpmPcr}, [](World& w) { w.vtpm_pcrs[8] = filled(32, 0x80); }},
        {{Code::VtpmChanged}, [](World& w) { w.vtpm_pcrs[4] = filled(32, 0x80); }},
        {{Code::VtpmAskedByHost}, [](World& w) { w.vtpm_nonce = copy(tpm2::asked_by_host(w.launch.nonce)); }},
        {{Code::TpmNonce}, [](World& w) { w.vtpm_nonce = filled(16, 6); }},
    });
}

TEST(Whole, OfTheCpuIsReportedForItsReasonAndNoOther) {
    World right;
    right.make_snp();
    EXPECT_EQ(test::reasons(right.verify()), "");
    expect_each({
        {{Code::CpuMissing},
         [](World& w) {
             w.make_snp();
             w.snp.reset();
         }},
        {{Code::CpuMissing},
         [](World& w) {
             w.launch.tier = "tdx";
             w.policy.launch.tiers = {"tdx"};
         }},
        {{Code::CertMalformed},
         [](World& w) {
             w.make_snp();
             w.own_vek = filled(9, 7);  // goes before the right one that came along
         }},
        {{Code::EvidenceMalformed},
         [](World& w) {
             w.make_snp();
             w.spoil_cpu = [](Buffer& b) { b.pop_back(); };
         }},
        {{Code::EvidenceBinding},
         [](World& w) {
             w.make_snp();
             w.swap = [](Evidence& e) { e.cpu.reset(); };
         }},
    });
}

TEST(Whole, OfAnAnchorIsReportedForItsReasonAndNoOther) {
    const auto spoil_leaf = [](std::size_t at) {
        return [at](World& w) { w.anchor.leaf[at] ^= std::byte{1}; };
    };
    expect_each({
        {{Code::EvidenceMalformed}, [](World& w) { w.anchor.spoil = [](Buffer& b) { b.pop_back(); }; }},
        {{Code::EvidenceMalformed},
         [](World& w) {
             w.anchor.spoil = [](Buffer& b) { b[12] ^= std::byte{1}; };
         }},  // its statement's magic
        {{Code::AnchorKey},
         [](World& w) { w.anchor.spoil_key = [](Buffer& b) { b.back() ^= std::byte{1}; }; }},
        {{Code::AnchorStatement, Code::AnchorStatement},
         [](World& w) { w.anchor.certified_statement = test::bytes("another"); }},
        {{Code::AnchorValue}, [](World& w) { w.anchor.certified_o = 8; }},
        {{Code::NvCounterBack}, [](World& w) { w.policy.counter.at_least = 8; }},
        {{Code::AnchorLeaf}, [](World& w) { w.anchor.root = filled(32, 1); }},
        {{Code::AnchorNonce}, [](World& w) { w.anchored_launch = test::bytes("another"); }},
        {{Code::AnchorOtherVm}, spoil_leaf(0)},
        {{Code::AnchorNotRunning}, spoil_leaf(88)},
        {{Code::AnchorGap}, spoil_leaf(105)},
        {{Code::AnchorReanchored}, spoil_leaf(109)},
        {{Code::HostSoftwareTpm}, [](World& w) { w.anchor.software_tpm = true; }},
    });
}

}  // namespace
}  // namespace holdfast::attest
