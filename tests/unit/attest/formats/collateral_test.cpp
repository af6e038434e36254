// SPDX-License-Identifier: Apache-2.0
// What Intel's collateral says of a platform, by a synthetic one. Real collateral: attest-vectors.
#include "attest/formats/tdx/collateral.hpp"

#include "attest/formats/tdx/collateral_json.hpp"
#include "attest/formats/tdx/tcb.hpp"
#include "tests/unit/attest/fake_tdx.hpp"

namespace holdfast::attest {
namespace {

using namespace test;
using tdx::TcbStatus;

TEST(TdxCollateral, UpToDatePlatformIsAccepted) {
    FakeTdx fake;
    EXPECT_EQ(fake.judge({.collateral_demanded = true}), "");
    EXPECT_EQ(fake.status, TcbStatus::UpToDate);
    EXPECT_FALSE(fake.last.has(Code::TdxNoTcbInfo));
}

TEST(TdxCollateral, SignatureIsOverTheVeryBytes) {
    FakeTdx fake;
    fake.collateral_signer = &FakeTdx::pck_key;
    EXPECT_EQ(fake.judge(), "tdx.collateral-signature tdx.collateral-signature");
    EXPECT_TRUE(fake.last.is_authentic());
}

TEST(TdxCollateral, SignerWithoutAChainIsRefused) {
    FakeTdx fake;
    const Certificate trusted = fake.root();
    auto verifier = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
    auto statement = fake.statement(fake.tcb_info);
    const std::vector strangers{certificate({.subject = "signer"}, FakeTdx::signer_key, FakeTdx::signer_key)};
    statement.issuer_chain = pem(strangers);
    Findings findings;
    EXPECT_FALSE(
        tdx::authenticate_tcb_info(statement, {.presented = {}, .at = kNow}, verifier, findings).has_value());
    EXPECT_EQ(reasons(findings), "tdx.collateral-chain");
    EXPECT_TRUE(findings.is_authentic());
}

TEST(TdxCollateral, SignerMayBeOneOfThoseAtHand) {
    FakeTdx fake;
    const Certificate trusted = fake.root();
    auto verifier = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
    auto statement = fake.statement(fake.tcb_info);
    statement.issuer_chain.clear();
    Findings findings;
    ChainRequest known{.presented = {}, .at = kNow};
    EXPECT_FALSE(tdx::authenticate_tcb_info(statement, known, verifier, findings).has_value());
    EXPECT_EQ(reasons(findings), "tdx.collateral-chain");
    const std::vector helpers{fake.platform(), fake.signer()};
    known.helpers = helpers;
    Findings again;
    EXPECT_TRUE(tdx::authenticate_tcb_info(statement, known, verifier, again).has_value());
    EXPECT_EQ(reasons(again), "");
    EXPECT_TRUE(again.has(Code::CertNoCrl));
}

TEST(TdxCollateral, RevokedSignerIsRefused) {
    FakeTdx fake;
    fake.crls.push_back(crl({.issuer = "root", .revoked = {4}}, FakeTdx::root_key));
    fake.crls.push_back(crl({.issuer = "platform"}, FakeTdx::platform_key));
    EXPECT_EQ(fake.judge(), "tdx.collateral-chain tdx.collateral-chain");
}

TEST(TdxCollateral, MalformedCollateralIsRefused) {
    for (const char* part :
         {R"("fmspc":"50806F000000",)", R"("pceId":"0000",)", R"("issueDate":"2026-05-20T00:00:00Z",)",
          R"("tcbEvaluationDataNumber":17,)", R"("pcesvn":11,)"}) {
        FakeTdx fake;
        fake.tcb_info = replaced(kTcbInfo, part, "");
        EXPECT_EQ(fake.judge(), "tdx.collateral-malformed") << part;
    }
    FakeTdx fake;
    fake.tcb_info = replaced(kTcbInfo, R"("tcbStatus":"UpToDate")", R"("tcbStatus":"Splendid")");
    EXPECT_EQ(fake.judge(), "tdx.collateral-malformed");
    fake.tcb_info = replaced(kTcbInfo, R"("version":3)", R"("version":2)");
    EXPECT_EQ(fake.judge(), "tdx.collateral-malformed");
    fake.tcb_info = kTcbInfo;
    fake.qe_identity = replaced(kQeIdentity, R"("isvprodid":2,)", "");
    EXPECT_EQ(fake.judge(), "tdx.collateral-malformed");
}

TEST(TdxCollateral, CollateralForSgxIsRefused) {
    FakeTdx fake;
    fake.tcb_info = replaced(kTcbInfo, R"("id":"TDX")", R"("id":"SGX")");
    EXPECT_EQ(fake.judge(), "tdx.collateral-kind");
    fake.tcb_info = kTcbInfo;
    fake.qe_identity = replaced(kQeIdentity, R"("id":"TD_QE")", R"("id":"QE")");
    EXPECT_EQ(fake.judge(), "tdx.collateral-kind");
}

TEST(TdxCollateral, CollateralOfAnotherTimeIsRefused) {
    FakeTdx fake;
    fake.at = 1'781'913'601;  // 2026-06-20T00:00:01Z
    EXPECT_EQ(fake.judge(), "tdx.collateral-stale tdx.collateral-stale");
    EXPECT_TRUE(fake.last.is_authentic());
    fake.at -= 1;
    EXPECT_EQ(fake.judge(), "");
    fake.at = 1'779'235'199;  // 2026-05-19T23:59:59Z
    EXPECT_EQ(fake.judge(), "tdx.collateral-early tdx.collateral-early");
    fake.at += 1;
    EXPECT_EQ(fake.judge(), "");
}

TEST(TdxCollateral, EvaluationNumberLowerThanSeenIsRefused) {
    FakeTdx fake;
    EXPECT_EQ(fake.judge({.min_evaluation_number = 17}), "");
    EXPECT_EQ(fake.judge({.min_evaluation_number = 18}), "tdx.collateral-older tdx.collateral-older");
}

TEST(TdxCollateral, FmspcIsComparedWithoutRegardToItsCase) {
    FakeTdx fake;
    fake.tcb_info = replaced(kTcbInfo, "50806F000000", "50806f000000");
    EXPECT_EQ(fake.judge(), "");
    fake.tcb_info = replaced(kTcbInfo, "50806F000000", "50806F000001");
    EXPECT_EQ(fake.judge(), "tdx.fmspc");
    EXPECT_EQ(fake.status, std::nullopt);
}

TEST(TdxCollateral, OtherCertificationEnclaveIsRefused) {
    FakeTdx fake;
    fake.tcb_info = replaced(kTcbInfo, R"("pceId":"0000")", R"("pceId":"0001")");
    EXPECT_EQ(fake.judge(), "tdx.pce-id");
}

TEST(TdxCollateral, OlderPlatformIsOutOfDateByEachPart) {
    const auto status = [](auto change) {
        FakeTdx fake;
        change(fake);
        EXPECT_EQ(fake.judge(), "tdx.tcb-status");
        EXPECT_TRUE(fake.last.has(Code::TdxAdvisories));
        return fake.status;
    };
    EXPECT_EQ(status([](FakeTdx& fake) { fake.sgx.components[0] = 2; }), TcbStatus::OutOfDate);
    EXPECT_EQ(status([](FakeTdx& fake) { fake.sgx.components[4] = 3; }), TcbStatus::OutOfDate);
    EXPECT_EQ(status([](FakeTdx& fake) { fake.body[2] = std::byte{2}; }), TcbStatus::OutOfDate);
    FakeTdx allowed;
    allowed.sgx.components[0] = 2;
    EXPECT_EQ(allowed.judge({.tcb_allowed = {TcbStatus::UpToDate, TcbStatus::OutOfDate}}), "");
}

TEST(TdxCollateral, PlatformBelowEveryLevelIsRefused) {
    FakeTdx sgx;
    sgx.sgx.components[7] = 4;
    EXPECT_EQ(sgx.judge(), "tdx.no-tcb-level");
    FakeTdx pce;
    pce.sgx.pce_svn = 10;
    EXPECT_EQ(pce.judge(), "tdx.no-tcb-level");
    FakeTdx tdx;
    tdx.body[2] = std::byte{1};
    EXPECT_EQ(tdx.judge(), "tdx.no-tcb-level");
}

TEST(TdxCollateral, ModuleWithAnIdentityHasLevelsOfItsOwn) {
    FakeTdx fake;
    fake.body[0] = std::byte{3};  // below the 5 of the platform's levels, which does not count
    EXPECT_EQ(fake.judge(), "tdx.tcb-status");
    EXPECT_EQ(fake.status, TcbStatus::OutOfDate);
    fake.body[0] = std::byte{1};
    EXPECT_EQ(fake.judge(), "tdx.no-tcb-level tdx.tcb-status");
}

TEST(TdxCollateral, ModuleWithoutAnIdentityIsThePlatforms) {
    FakeTdx fake;
    fake.body[0] = std::byte{5};
    fake.body[1] = std::byte{0};
    EXPECT_EQ(fake.judge(), "");
    fake.body[0] = std::byte{4};
    EXPECT_EQ(fake.judge(), "tdx.no-tcb-level");
}

TEST(TdxCollateral, ModuleThatTheTcbInfoDoesNotKnowIsRefused) {
    FakeTdx unknown;
    unknown.body[1] = std::byte{3};
    EXPECT_EQ(unknown.judge(), "tdx.module");
    FakeTdx signer;
    signer.body[64] = std::byte{1};
    EXPECT_EQ(signer.judge(), "tdx.module");
    FakeTdx attributes;
    attributes.body[112] = std::byte{1};
    EXPECT_EQ(attributes.judge(), "tdx.module");
    FakeTdx old;
    old.body[1] = std::byte{0};
    old.body[64] = std::byte{1};
    EXPECT_EQ(old.judge(), "tdx.module");
}

TEST(TdxCollateral, OtherQuotingEnclaveIsRefused) {
    const auto differs = [](std::size_t offset) {
        FakeTdx fake;
        fake.enclave[offset] ^= std::byte{2};
        return fake.judge();
    };
    EXPECT_EQ(differs(128), "tdx.qe-identity") << "MRSIGNER";
    EXPECT_EQ(differs(256), "tdx.qe-identity") << "ISVPRODID";
    EXPECT_EQ(differs(16), "tdx.qe-identity") << "MISCSELECT";
    EXPECT_EQ(differs(48), "tdx.qe-identity") << "ATTRIBUTES: debug";
    EXPECT_EQ(differs(56), "") << "XFRM is not in the mask";
}

TEST(TdxCollateral, OlderQuotingEnclaveMakesThePlatformOutOfDate) {
    FakeTdx fake;
    fake.enclave[258] = std::byte{3};
    EXPECT_EQ(fake.judge(), "tdx.tcb-status");
    EXPECT_EQ(fake.status, TcbStatus::OutOfDate);
    FakeTdx alone;  // without TCB info
    alone.enclave[258] = std::byte{3};
    alone.tcb_info.clear();
    EXPECT_EQ(alone.judge(), "tdx.tcb-status");
    EXPECT_FALSE(alone.status.has_value());
    fake.enclave[258] = std::byte{2};
    EXPECT_EQ(fake.judge(), "tdx.no-tcb-level tdx.tcb-status");
}

TEST(TdxCollateral, StatusesConvergeToTheWorst) {
    using tdx::converge;
    EXPECT_EQ(converge(TcbStatus::UpToDate, TcbStatus::UpToDate), TcbStatus::UpToDate);
    EXPECT_EQ(converge(TcbStatus::SwHardeningNeeded, TcbStatus::UpToDate), TcbStatus::SwHardeningNeeded);
    EXPECT_EQ(converge(TcbStatus::UpToDate, TcbStatus::OutOfDate), TcbStatus::OutOfDate);
    EXPECT_EQ(converge(TcbStatus::ConfigurationNeeded, TcbStatus::OutOfDate),
              TcbStatus::OutOfDateConfigurationNeeded);
    EXPECT_EQ(converge(TcbStatus::ConfigurationAndSwHardeningNeeded, TcbStatus::OutOfDate),
              TcbStatus::OutOfDateConfigurationNeeded);
    EXPECT_EQ(converge(TcbStatus::UpToDate, TcbStatus::Revoked), TcbStatus::Revoked);
    EXPECT_EQ(converge(TcbStatus::Revoked, TcbStatus::UpToDate), TcbStatus::Revoked);
}

TEST(TdxCollateral, AnswersOfTheServiceKeepTheirBytes) {
    const std::string text = R"({"tcbInfo": {"a" : 1 } ,"signature":"00ff"})";
    const auto statement = tdx::parse_statement(text, "tcbInfo", "chain");
    ASSERT_TRUE(statement.has_value());
    EXPECT_EQ(statement->body, R"({"a" : 1 })");
    EXPECT_EQ(statement->signature.size(), 2U);
    EXPECT_FALSE(tdx::parse_statement(text, "enclaveIdentity", "").has_value());
    EXPECT_FALSE(
        tdx::parse_statement(R"({"tcbInfo":{},"tcbInfo":{},"signature":""})", "tcbInfo", "").has_value());
}

}  // namespace
}  // namespace holdfast::attest
