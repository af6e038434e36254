// SPDX-License-Identifier: Apache-2.0
// Each reason that a quote may be refused for without collateral, by a synthetic platform. Real quotes:
// attest-vectors.
#include "tests/unit/attest/fake_tdx.hpp"
#include "tests/unit/attest/logs.hpp"

namespace holdfast::attest {
namespace {

using namespace test;

class TdxQuote : public ::testing::Test {
protected:
    TdxQuote() { fake.with_collateral = false; }
    FakeTdx fake;
};

TEST_F(TdxQuote, GoodOneIsAcceptedAndSaysWhatIsNotKnown) {
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.has(Code::TdxNoTcbInfo));
    EXPECT_TRUE(fake.last.has(Code::TdxNoQeIdentity));
    EXPECT_TRUE(fake.last.has(Code::CertNoCrl));
    EXPECT_EQ(fake.judge({.collateral_demanded = true}), "tdx.collateral-demanded tdx.collateral-demanded");
}

TEST_F(TdxQuote, QuotesOfVersion5AreAccepted) {
    fake.version = 5;
    EXPECT_EQ(fake.judge(), "");
    fake.make_td15();
    EXPECT_EQ(fake.judge(), "");
}

TEST_F(TdxQuote, EveryQuoteThatIsCutShortIsMalformed) {
    for (const unsigned version : {4U, 5U}) {
        fake.version = version;
        const Buffer whole = fake.quote();
        for (std::size_t size = 0; size < whole.size(); ++size) {
            EXPECT_FALSE(tdx::parse_quote(std::span{whole}.first(size)).has_value()) << size;
        }
    }
}

TEST_F(TdxQuote, BytesBehindTheQuoteAreOnlyNoted) {
    Buffer quote = fake.quote();
    append(quote, buffer("junk"));
    EXPECT_EQ(fake.judge(quote, {}), "");
    EXPECT_TRUE(fake.last.has(Code::TdxTrailing));
}

TEST_F(TdxQuote, SizesThatContradictEachOtherAreMalformed) {
    const Buffer quote = fake.quote();
    constexpr std::size_t kSignatureData = 48 + 584;
    constexpr std::size_t kCertification = kSignatureData + 4 + 128 + 2;
    for (const std::size_t offset : {kSignatureData, kCertification}) {
        for (const int change : {-1, 1}) {
            Buffer other = quote;
            other[offset] = static_cast<std::byte>(std::to_integer<int>(other[offset]) + change);
            EXPECT_EQ(fake.judge(other, {}), "tdx.malformed") << offset;
        }
    }
}

TEST_F(TdxQuote, UnknownVersionsTeeTypesAndBodiesAreMalformed) {
    fake.version = 6;
    EXPECT_EQ(fake.judge(), "tdx.malformed");
    fake.version = 4;
    fake.tee_type = 0x82;
    EXPECT_EQ(fake.judge(), "tdx.malformed");
    fake.version = 5;
    fake.tee_type = 0;  // a TD's body, and an enclave's type
    EXPECT_EQ(fake.judge(), "tdx.malformed");
}

TEST_F(TdxQuote, OtherVendorIsRefused) {
    fake.vendor[0] ^= std::byte{1};
    EXPECT_EQ(fake.judge(), "tdx.vendor");
    EXPECT_FALSE(fake.last.is_authentic());
}

TEST_F(TdxQuote, PckCertificateThatLacksAPartIsNone) {
    for (const unsigned part : {1U, 2U, 3U, 4U}) {
        fake.sgx.left_out = part;
        EXPECT_EQ(fake.judge(), "tdx.pck") << part;
    }
}

TEST_F(TdxQuote, EnclaveReportSignedBySomebodyElseIsRefused) {
    fake.enclave_signer = &FakeTdx::signer_key;
    EXPECT_EQ(fake.judge(), "tdx.qe-signature");
}

TEST_F(TdxQuote, AttestationKeyThatTheEnclaveDoesNotKnowIsRefused) {
    fake.bound_key = &FakeTdx::signer_key;
    EXPECT_EQ(fake.judge(), "tdx.qe-binding");
}

TEST_F(TdxQuote, WhatFollowsTheBoundHashMustBeZero) {
    fake.enclave[352] = std::byte{1};
    EXPECT_EQ(fake.judge(), "tdx.qe-binding");
}

TEST_F(TdxQuote, AuthenticationDataIsBoundToo) {
    Buffer quote = fake.quote();
    const std::string text{reinterpret_cast<const char*>(quote.data()), quote.size()};
    quote[text.find("auth")] ^= std::byte{1};
    EXPECT_EQ(fake.judge(quote, {}), "tdx.qe-binding");
}

TEST_F(TdxQuote, QuoteSignedBySomebodyElseIsRefused) {
    fake.quote_signer = &FakeTdx::signer_key;
    EXPECT_EQ(fake.judge(), "tdx.signature");
}

TEST_F(TdxQuote, OtherTypeOfAttestationKeyIsRefused) {
    fake.key_type = 3;
    EXPECT_EQ(fake.judge(), "tdx.signature");
}

TEST_F(TdxQuote, EachByteOfHeaderAndBodyIsSigned) {
    const Buffer quote = fake.quote();
    for (const std::size_t offset :
         {std::size_t{8}, std::size_t{28}, std::size_t{48}, std::size_t{48 + 583}}) {
        Buffer other = quote;
        other[offset] ^= std::byte{1};
        EXPECT_EQ(fake.judge(other, {}), "tdx.signature") << offset;
    }
}

TEST_F(TdxQuote, RevokedPckIsRefused) {
    fake.crls.push_back(crl({.issuer = "root"}, FakeTdx::root_key));
    fake.crls.push_back(crl({.issuer = "platform"}, FakeTdx::platform_key));
    EXPECT_EQ(fake.judge(), "");
    EXPECT_FALSE(fake.last.has(Code::CertNoCrl));
    fake.crls.pop_back();
    fake.crls.push_back(crl({.issuer = "platform", .revoked = {3}}, FakeTdx::platform_key));
    EXPECT_EQ(fake.judge(), "cert.revoked");
    EXPECT_FALSE(fake.last.is_authentic());
}

TEST_F(TdxQuote, QuoteOfAnEnclaveIsAuthenticAndNotOfATd) {
    fake.tee_type = 0;
    fake.body = Buffer(384);
    for (const unsigned version : {3U, 4U, 5U}) {
        fake.version = version;
        EXPECT_EQ(fake.judge(), "tdx.not-tdx") << version;
        EXPECT_TRUE(fake.last.is_authentic());
    }
}

TEST_F(TdxQuote, ReportDataIsBoundWholeAndPaddedWithZero) {
    fake.body[520] = std::byte{1};
    fake.body[521] = std::byte{2};
    const Buffer bytes = fake.quote();
    Findings findings;
    const auto authentic = fake.authenticate(bytes, findings);
    ASSERT_TRUE(authentic.has_value());
    EXPECT_TRUE(tdx::bind_report_data(*authentic, Buffer{std::byte{1}, std::byte{2}}, findings).has_value());
    EXPECT_EQ(reasons(findings), "");
    EXPECT_FALSE(tdx::bind_report_data(*authentic, Buffer{std::byte{1}}, findings).has_value());
    EXPECT_EQ(reasons(findings), "tdx.report-data");
    Findings longer;
    EXPECT_FALSE(tdx::bind_report_data(*authentic, Buffer(65), longer).has_value());
    EXPECT_EQ(reasons(longer), "tdx.report-data");
}

TEST_F(TdxQuote, LogOfTheFirmwareMustExplainItsRegisters) {
    LogWriter writer{{HashAlg::Sha384}};
    writer.measure(1, eventlog::ev::SEPARATOR, LogWriter::kZero)
        .measure(3, eventlog::ev::EFI_BOOT_SERVICES_APPLICATION, "kernel");
    const auto log = eventlog::parse_log(writer.bytes(), eventlog::Kind::Cc);
    ASSERT_TRUE(log.has_value());
    const auto registers = *eventlog::replay(*log, HashAlg::Sha384);
    for (std::size_t i = 0; i < 3; ++i) {  // RTMR 0-3 from byte 328 of the report on
        const Digest value = registers[i + 1].value_or(Digest{.alg = HashAlg::Sha384});
        std::ranges::copy(value.bytes(), fake.body.begin() + 328 + static_cast<std::ptrdiff_t>(48 * i));
    }
    fake.body[328 + 3 * 48] = std::byte{1};  // RTMR 3 is the guest's own
    for (const bool right : {true, false}) {
        if (!right) fake.body[328 + 48] ^= std::byte{1};  // RTMR 1, of which the log says nothing
        const Buffer bytes = fake.quote();
        Findings findings;
        const auto authentic = fake.authenticate(bytes, findings);
        ASSERT_TRUE(authentic.has_value());
        const auto vouched = tdx::vouched_by(*authentic);
        EXPECT_EQ(eventlog::bind_log(*log, std::span{&vouched, 1}, findings).has_value(), right);
        EXPECT_EQ(reasons(findings), right ? "" : "log.replay");
    }
}

TEST_F(TdxQuote, DebugIsRefusedUnlessAllowed) {
    fake.body[120] = std::byte{1};
    EXPECT_EQ(fake.judge(), "tdx.debug");
    EXPECT_TRUE(fake.last.is_authentic());
    EXPECT_EQ(fake.judge({.allow_debug = true}), "");
    fake.body[120] = std::byte{0x80};  // of the same group
    EXPECT_EQ(fake.judge(), "tdx.debug");
}

TEST_F(TdxQuote, PagesThatMayBeTakenAreRefusedUnlessAllowed) {
    fake.body[123] = std::byte{0};
    EXPECT_EQ(fake.judge(), "tdx.sept-ve");
    EXPECT_EQ(fake.judge({.allow_sept_ve = true}), "");
}

TEST_F(TdxQuote, MigratableTdIsRefusedUnlessAllowed) {
    fake.body[123] |= std::byte{0x20};
    EXPECT_EQ(fake.judge(), "tdx.migratable");
    EXPECT_EQ(fake.judge({.allow_migratable = true}), "");
}

TEST_F(TdxQuote, ServiceTdIsRefusedUnlessItIsNamed) {
    fake.make_td15();
    std::ranges::fill(std::span{fake.body}.subspan(600, 48), std::byte{0x5d});
    EXPECT_EQ(fake.judge(), "tdx.service-td");
    EXPECT_EQ(fake.judge({.service_tds = {Buffer(48, std::byte{0x5d})}}), "");
    EXPECT_EQ(fake.judge({.service_tds = {Buffer(48, std::byte{0x5e})}}), "tdx.service-td");
}

TEST_F(TdxQuote, ForbiddenAttributesAndFeaturesAreRefused) {
    fake.body[123] |= std::byte{0x40};  // PKS
    fake.body[128] = std::byte{0xe7};
    EXPECT_EQ(fake.judge(), "");
    EXPECT_EQ(fake.judge({.attributes_forbidden = std::uint64_t{1} << 30}), "tdx.attributes");
    EXPECT_EQ(fake.judge({.xfam_allowed = 0xe7}), "");
    EXPECT_EQ(fake.judge({.xfam_allowed = 0x67}), "tdx.xfam");
}

TEST_F(TdxQuote, MeasurementsMustBeThose) {
    EXPECT_EQ(fake.judge({.mrtds = {Buffer(48, std::byte{1}), Buffer(48)}}), "");
    EXPECT_EQ(fake.judge({.mrtds = {Buffer(48, std::byte{1})}}), "tdx.mrtd");
    for (std::size_t i = 0; i < 4; ++i) {
        tdx::Policy policy;
        policy.rtmrs[i] = Buffer(48, std::byte{1});
        EXPECT_EQ(fake.judge(policy), "tdx.rtmr") << i;
        FakeTdx other;
        other.with_collateral = false;
        std::ranges::fill(std::span{other.body}.subspan(328 + 48 * i, 48), std::byte{1});
        EXPECT_EQ(other.judge(policy), "") << i;
    }
}

TEST_F(TdxQuote, OwnerAndConfigurationMustBeThose) {
    const Buffer other(48, std::byte{1});
    EXPECT_EQ(fake.judge({.mr_config_id = other}), "tdx.config");
    EXPECT_EQ(fake.judge({.mr_owner = other}), "tdx.config");
    EXPECT_EQ(fake.judge({.mr_owner_config = other}), "tdx.config");
    EXPECT_EQ(fake.judge({.mr_config_id = Buffer(48), .mr_owner = Buffer(48), .mr_owner_config = Buffer(48)}),
              "");
}

TEST_F(TdxQuote, PlatformMustBeOneOfThose) {
    EXPECT_EQ(fake.judge({.platforms = {Buffer(16, std::byte{0x99})}}), "");
    EXPECT_EQ(fake.judge({.platforms = {Buffer(16, std::byte{0x98})}}), "tdx.platform");
}

TEST_F(TdxQuote, ModuleThatIsNotIntelsIsRefusedWithoutTcbInfo) {
    fake.body[64] = std::byte{1};
    EXPECT_EQ(fake.judge(), "tdx.module");
}

}  // namespace
}  // namespace holdfast::attest
