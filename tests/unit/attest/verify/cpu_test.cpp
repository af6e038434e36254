// SPDX-License-Identifier: Apache-2.0
// The report of a CPU as a layer of evidence: one that is right, of SNP and of TDX, and one broken in one way
// for each reason. Synthetic reports: no CPU made them.
#include "attest/verify/cpu.hpp"

#include <functional>

#include <gtest/gtest.h>

#include "tests/unit/attest/fake_host.hpp"
#include "tests/unit/attest/fake_snp.hpp"
#include "tests/unit/attest/fake_tdx.hpp"
#include "tests/unit/attest/logs.hpp"

namespace holdfast::attest {
namespace {

using test::Buffer;
using test::filled;
using test::kNow;

struct World {
    test::FakeSnp snp;
    test::FakeTdx tdx;
    LaunchStatement launch{.nonce = filled(16, 1), .tier = "sev-snp", .digest = filled(48, 7)};
    Buffer vtpm_key = filled(90, 2);
    Buffer asked_key = vtpm_key;  // that the guest had put into the report
    CpuPolicy policy;
    Buffer report;  // empty: the platform's
    std::optional<Buffer> endorsement;
    Buffer event_log;
    Findings findings;

    World() {
        policy.snp_roots = {snp.root()};
        policy.tdx_roots = {tdx.root()};
        policy.tdx.collateral_demanded = true;
    }
    void make_tdx() { launch.tier = "tdx"; }
    void log(Buffer bytes) {
        make_tdx();
        event_log = std::move(bytes);
        const auto parsed = eventlog::parse_log(event_log, eventlog::Kind::Cc);
        if (!parsed) return;
        const auto replayed = *eventlog::replay(*parsed, HashAlg::Sha384);
        for (std::size_t i = 1; i < 4; ++i) {
            const auto rtmr = std::span{tdx.body}.subspan(328 + 48 * (i - 1), 48);
            if (replayed[i]) std::ranges::copy(replayed[i]->bytes(), rtmr.begin());
        }
    }
    std::string verify(std::string_view tier) {
        const Digest256 question = cpu_question(launch.nonce, asked_key);
        const Buffer measured = filled(48, 7);
        std::ranges::copy(measured, snp.report.begin() + 0x90);
        std::ranges::copy(question, snp.report.begin() + 0x50);
        snp.sign();
        std::ranges::copy(measured, tdx.body.begin() + 136);
        if (tdx.body.size() > 520) std::ranges::copy(question, tdx.body.begin() + 520);
        const bool is_snp = tier == kTierSnp;
        const std::vector chain{snp.endorsement(), snp.middle()};
        if (!endorsement) endorsement = test::buffer(is_snp ? test::pem(chain) : tdx.bundle());
        if (report.empty()) report = is_snp ? Buffer{snp.report.begin(), snp.report.end()} : tdx.quote();
        const CpuPart part{
            .tier = tier, .report = report, .endorsement = *endorsement, .event_log = event_log};
        findings = {};
        const CpuReport said = verify_cpu(
            {.part = &part, .launch = &launch, .vtpm_key = vtpm_key, .at = kNow}, policy, findings);
        EXPECT_TRUE(!findings.is_accepted() ||
                    (is_snp ? said.snp.bound.has_value() : said.tdx.bound.has_value()));
        return test::reasons(findings);
    }
};

struct Break {
    std::vector<Code> codes;
    std::function<void(World&)> spoil;
};
void expect_each(std::string_view tier, const std::vector<Break>& breaks) {
    for (const Break& broken : breaks) {
        World world;
        world.launch.tier = tier;
        broken.spoil(world);
        std::string expected;
        for (const Code code : broken.codes) {
            expected += std::string{expected.empty() ? "" : " "} + std::string{row_of(code).name};
        }
        EXPECT_EQ(world.verify(tier), expected);
    }
}

TEST(Cpu, ReportsThatAreRightAreAccepted) {
    EXPECT_EQ(World{}.verify(kTierSnp), "");
    World tdx;
    tdx.make_tdx();
    EXPECT_EQ(tdx.verify(kTierTdx), "");
    World without_vtpm;
    without_vtpm.vtpm_key = without_vtpm.asked_key = {};
    EXPECT_EQ(without_vtpm.verify(kTierSnp), "");
    World with_log;
    with_log.log(test::LogWriter{{HashAlg::Sha384}}.measure(1, eventlog::ev::EFI_ACTION, "a").bytes());
    EXPECT_EQ(with_log.verify(kTierTdx), "");
}

TEST(Cpu, SnpIsReportedForItsReasonAndNoOther) {
    expect_each(kTierSnp, {
                              {{Code::CpuTier}, [](World& w) { w.launch.tier = "software"; }},
                              {{Code::CpuLaunchDigest}, [](World& w) { w.launch.digest = filled(48, 8); }},
                              {{Code::CpuLaunchDigest}, [](World& w) { w.launch.digest.clear(); }},
                              {{Code::SnpReportData}, [](World& w) { w.asked_key = filled(90, 3); }},
                              {{Code::SnpReportData}, [](World& w) { w.asked_key.clear(); }},
                              {{Code::SnpReportData}, [](World& w) { w.vtpm_key.clear(); }},
                              {{Code::SnpMalformed}, [](World& w) { w.report = filled(1184, 0); }},
                              {{Code::SnpDebug}, [](World& w) { w.snp.set64(0x08, 0xb001f); }},
                              {{Code::CertUntrusted}, [](World& w) { w.policy.snp_roots.clear(); }},
                              {{Code::CertUntrusted},
                               [](World& w) {
                                   const test::Key other = test::Key::rsa();
                                   w.policy.snp_roots = {
                                       certificate({.subject = "ARK-Genoa", .is_ca = true}, other, other)};
                               }},
                              {{Code::CertMalformed}, [](World& w) { w.endorsement = Buffer{}; }},
                          });
}

TEST(Cpu, TdxIsReportedForItsReasonAndNoOther) {
    expect_each(
        kTierTdx,
        {
            {{Code::CpuTier}, [](World& w) { w.launch.tier = "sev-snp"; }},
            {{Code::CpuLaunchDigest}, [](World& w) { w.launch.digest = filled(48, 8); }},
            {{Code::TdxReportData}, [](World& w) { w.asked_key = filled(90, 3); }},
            {{Code::TdxMalformed}, [](World& w) { w.report = filled(1000, 0); }},
            {{Code::TdxReportData, Code::TdxNotTdx},
             [](World& w) {
                 w.tdx.tee_type = 0;
                 w.tdx.body.resize(384);
             }},
            {{Code::TdxCollateralMalformed, Code::TdxCollateralDemanded, Code::TdxCollateralDemanded},
             [](World& w) { w.endorsement = filled(9, '{'); }},
            {{Code::TdxCollateralDemanded, Code::TdxCollateralDemanded},
             [](World& w) { w.endorsement = Buffer{}; }},
            {{Code::TdxCollateralSignature, Code::TdxCollateralSignature, Code::TdxCollateralDemanded,
              Code::TdxCollateralDemanded},
             [](World& w) { w.tdx.collateral_signer = &test::FakeTdx::pck_key; }},
            {{Code::CertUntrusted}, [](World& w) { w.policy.tdx_roots.clear(); }},
            {{Code::LogMalformed}, [](World& w) { w.log(filled(100, 1)); }},
            {{Code::LogReplay},
             [](World& w) {
                 w.log(test::LogWriter{{HashAlg::Sha384}}.measure(2, eventlog::ev::EFI_ACTION, "a").bytes());
                 w.tdx.body[328 + 48] ^= std::byte{1};
             }},
            {{Code::LogDigest},
             [](World& w) {
                 w.log(test::LogWriter{{HashAlg::Sha384}}.add(1, eventlog::ev::EFI_ACTION, "a", "b").bytes());
             }},
        });
}

}  // namespace
}  // namespace holdfast::attest
