// SPDX-License-Identifier: Apache-2.0
// Each reason that an SNP report may be refused for, by a synthetic platform. Real reports: attest-vectors.
#include "tests/unit/attest/fake_snp.hpp"

namespace holdfast::attest {
namespace {

using namespace test;

TEST(SnpReport, GoodOneIsAccepted) {
    FakeSnp fake;
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.is_accepted());
    EXPECT_TRUE(fake.last.has(Code::CertNoCrl));
}

TEST(SnpReport, SizeIsExact) {
    const Buffer bytes(snp::kReportSize + 1, std::byte{2});
    EXPECT_FALSE(snp::parse_report(std::span{bytes}.first(snp::kReportSize - 1)).has_value());
    EXPECT_FALSE(snp::parse_report(bytes).has_value());
    EXPECT_FALSE(snp::parse_report({}).has_value());
}

TEST(SnpReport, VersionsFrom2To5AreRead) {
    FakeSnp fake;
    for (const std::uint32_t version : {0U, 1U, 6U}) {
        fake.set32(0, version);
        EXPECT_EQ(fake.judge(), "snp.malformed") << version;
    }
    for (const std::uint32_t version : {2U, 3U, 4U, 5U}) {
        fake.set32(0, version);
        EXPECT_EQ(fake.judge(), "") << version;
    }
}

TEST(SnpReport, SignatureOverOtherBytesIsRefused) {
    FakeSnp fake;
    fake.sign();
    for (const std::size_t offset :
         {std::size_t{0x50}, std::size_t{0x90}, std::size_t{0x29f}, std::size_t{0x2a0}}) {
        FakeSnp changed = fake;
        changed.report[offset] ^= std::byte{1};
        Findings findings;
        EXPECT_FALSE(changed.authenticate(findings).has_value());
        EXPECT_EQ(reasons(findings), "snp.signature") << offset;
    }
}

TEST(SnpReport, SignatureByAnotherKeyIsRefused) {
    FakeSnp fake;
    fake.sign(Key::ec("P-384"));
    Findings findings;
    EXPECT_FALSE(fake.authenticate(findings).has_value());
    EXPECT_EQ(reasons(findings), "snp.signature");
}

TEST(SnpReport, NumberOfTheSignatureBeyondTheCurveIsRefused) {
    FakeSnp fake;
    fake.sign();
    fake.report[0x2a0 + 71] = std::byte{1};  // is not signed, and would be dropped
    Findings findings;
    EXPECT_FALSE(fake.authenticate(findings).has_value());
    EXPECT_EQ(reasons(findings), "snp.signature");
}

TEST(SnpReport, OtherSignatureAlgorithmIsRefused) {
    FakeSnp fake;
    fake.set32(0x34, 2);
    EXPECT_EQ(fake.judge(), "snp.signature");
}

TEST(SnpReport, ReportThatNamesNoSigningKeyIsRefused) {
    FakeSnp fake;
    fake.set32(0x48, 7 << 2);
    EXPECT_EQ(fake.judge(), "snp.unsigned");
    fake.set32(0x48, 2 << 2);
    EXPECT_EQ(fake.judge(), "snp.unsigned");
}

TEST(SnpReport, EndorsementThatLacksAPartIsNone) {
    for (const char* part : {"2", "3.1", "3.2", "3.3", "3.8", "4"}) {
        FakeSnp fake;
        fake.left_out = {part};
        EXPECT_EQ(fake.judge(), "snp.vek") << part;
    }
}

TEST(SnpReport, KeyOfAnotherKindThanTheReportNamesIsRefused) {
    FakeSnp vcek;
    vcek.set32(0x48, 1 << 2);
    EXPECT_EQ(vcek.judge(), "snp.key-kind");
    FakeSnp vlek;
    vlek.make_vlek();
    vlek.set32(0x48, 0);
    EXPECT_EQ(vlek.judge(), "snp.key-kind");
}

TEST(SnpReport, VlekIsAcceptedAndSaysNothingOfTheChip) {
    FakeSnp fake;
    fake.make_vlek();
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.has(Code::SnpChipMasked));
}

TEST(SnpReport, VlekByTheAuthorityOfVceksIsRefused) {
    FakeSnp fake;
    fake.make_vlek();
    fake.authority = "SEV-Milan";
    EXPECT_EQ(fake.judge(), "snp.product");
}

TEST(SnpReport, ProcessorOfAnotherProductIsRefused) {
    FakeSnp fake;
    fake.report[0x189] = std::byte{0x11};  // Genoa, which has the same layout
    EXPECT_EQ(fake.judge(), "snp.product");
}

TEST(SnpReport, ProcessorThatNobodyKnowsIsRefused) {
    FakeSnp fake;
    fake.report[0x188] = std::byte{0x1a};
    fake.report[0x189] = std::byte{0x50};
    EXPECT_EQ(fake.judge(), "snp.unknown-product");
}

TEST(SnpReport, HiddenProcessorIsThatOfTheEndorsement) {
    FakeSnp fake;
    fake.report[0x188] = fake.report[0x189] = std::byte{0};
    EXPECT_EQ(fake.judge(), "");
}

TEST(SnpReport, ProductsAreToldByFamilyAndModel) {
    using snp::Product;
    EXPECT_EQ(snp::product_of_cpu(0x19, 0x0f), Product::Milan);
    EXPECT_EQ(snp::product_of_cpu(0x19, 0x10), Product::Genoa);
    EXPECT_EQ(snp::product_of_cpu(0x19, 0xaf), Product::Genoa);
    EXPECT_EQ(snp::product_of_cpu(0x19, 0x20), std::nullopt);
    EXPECT_EQ(snp::product_of_cpu(0x1a, 0x11), Product::Turin);
    EXPECT_EQ(snp::product_of_cpu(0x1a, 0x12), std::nullopt);
    EXPECT_EQ(snp::product_of_name("Genoa-B1"), Product::Genoa);
    EXPECT_EQ(snp::product_of_name("Genoese"), std::nullopt);
}

TEST(SnpReport, EndorsementThatDiffersInOnePartOfTheTcbIsRefused) {
    const auto differs = [](auto change) {
        FakeSnp fake;
        change(fake.endorsed);
        return fake.judge();
    };
    EXPECT_EQ(differs([](snp::Tcb& tcb) { ++tcb.bootloader; }), "snp.tcb");
    EXPECT_EQ(differs([](snp::Tcb& tcb) { ++tcb.tee; }), "snp.tcb");
    EXPECT_EQ(differs([](snp::Tcb& tcb) { --tcb.snp; }), "snp.tcb");
    EXPECT_EQ(differs([](snp::Tcb& tcb) { --tcb.microcode; }), "snp.tcb");
    FakeSnp turin;
    turin.make_turin();
    turin.endorsed.fmc = 0;
    EXPECT_EQ(turin.judge(), "snp.tcb");
}

TEST(SnpReport, TcbIsTheReportedOneAndNotTheCurrentOne) {
    FakeSnp fake;
    fake.set_tcb(0x38, {4, 0, 0, 0, 0, 0, 25, 219});
    EXPECT_EQ(fake.judge(), "");
}

TEST(SnpReport, TurinHasALayoutAndAnIdentifierOfItsOwn) {
    FakeSnp fake;
    fake.make_turin();
    EXPECT_EQ(fake.judge(), "");
    fake.hardware = Buffer(64, std::byte{0xc1});
    EXPECT_EQ(fake.judge(), "snp.vek");
}

TEST(SnpReport, LayoutFollowsTheProcessorAndNotTheVersion) {
    FakeSnp milan;
    milan.set32(0, 5);
    EXPECT_EQ(milan.judge(), "");
    FakeSnp turin;
    turin.make_turin();
    turin.set32(0, 3);
    EXPECT_EQ(turin.judge(), "");
}

TEST(SnpReport, OtherChipIsRefused) {
    FakeSnp fake;
    fake.hardware.back() ^= std::byte{1};
    EXPECT_EQ(fake.judge(), "snp.chip");
    FakeSnp turin;
    turin.make_turin();
    turin.hardware.back() ^= std::byte{1};
    EXPECT_EQ(turin.judge(), "snp.chip");
}

TEST(SnpReport, ChipMayBeWrappedInAnOctetString) {
    FakeSnp fake;
    fake.hardware.insert(fake.hardware.begin(), {std::byte{4}, std::byte{64}});
    EXPECT_EQ(fake.judge(), "");
}

TEST(SnpReport, HiddenChipIsSaidToBeSo) {
    FakeSnp fake;
    std::ranges::fill(std::span{fake.report}.subspan(0x1a0, 64), std::byte{0});
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.has(Code::SnpChipMasked));
}

TEST(SnpReport, RevokedAuthorityIsRefused) {
    FakeSnp fake;
    fake.crls.push_back(crl({.issuer = "ARK-Milan", .revoked = {0x10001}}, FakeSnp::ark));
    EXPECT_EQ(fake.judge(), "cert.revoked");
}

TEST(SnpReport, ListOfTheAuthorityNeedsNoneOfTheEndorsements) {
    FakeSnp fake;
    fake.crls.push_back(crl({.issuer = "ARK-Milan"}, FakeSnp::ark));
    EXPECT_EQ(fake.judge(), "");
    EXPECT_FALSE(fake.last.has(Code::CertNoCrl));
}

TEST(SnpReport, ExpiredEndorsementIsRefused) {
    FakeSnp fake;
    fake.at = kNow + kYear + 1;
    EXPECT_NE(fake.judge().find("cert.expired"), std::string::npos);
    EXPECT_FALSE(fake.last.is_authentic());
}

TEST(SnpReport, ReportDataIsBoundWholeAndPaddedWithZero) {
    FakeSnp fake;
    fake.report[0x50] = std::byte{1};
    fake.report[0x51] = std::byte{2};
    fake.sign();
    Findings findings;
    const auto authentic = fake.authenticate(findings);
    ASSERT_TRUE(authentic.has_value());
    const Buffer whole{std::byte{1}, std::byte{2}};
    EXPECT_TRUE(snp::bind_report_data(*authentic, whole, findings).has_value());
    EXPECT_EQ(reasons(findings), "");
    const Buffer prefix{std::byte{1}};
    EXPECT_FALSE(snp::bind_report_data(*authentic, prefix, findings).has_value());
    EXPECT_EQ(reasons(findings), "snp.report-data");
    EXPECT_FALSE(findings.is_authentic());
    Findings longer;
    EXPECT_FALSE(snp::bind_report_data(*authentic, Buffer(65), longer).has_value());
    EXPECT_EQ(reasons(longer), "snp.report-data");
}

TEST(SnpReport, EndorsedKeyOfAnotherCurveIsRefused) {
    FakeSnp fake;
    const Key key = Key::ec("P-256");
    fake.endorsed_key = &key;
    EXPECT_EQ(fake.judge(), "snp.signature");
}

TEST(SnpPolicy, DebugIsRefusedUnlessAllowed) {
    FakeSnp fake;
    fake.set64(0x08, 0x30000 | 1U << 19);
    EXPECT_EQ(fake.judge(), "snp.debug");
    EXPECT_TRUE(fake.last.is_authentic());
    EXPECT_EQ(fake.judge({.allow_debug = true}), "");
}

TEST(SnpPolicy, MigrationAgentIsRefusedUnlessAllowed) {
    FakeSnp fake;
    fake.set64(0x08, 0x30000 | 1U << 18);
    EXPECT_EQ(fake.judge(), "snp.migration-agent");
    EXPECT_EQ(fake.judge({.allow_migration_agent = true}), "");
}

TEST(SnpPolicy, GuestPolicyWithoutItsReservedOneIsRefused) {
    FakeSnp fake;
    fake.set64(0x08, 0x10000);
    EXPECT_EQ(fake.judge(), "snp.policy-format");
}

TEST(SnpPolicy, OtherVmplsAreRefusedUnlessAllowed) {
    FakeSnp fake;
    fake.set32(0x30, 1);
    EXPECT_EQ(fake.judge(), "snp.vmpl");
    EXPECT_EQ(fake.judge({.max_vmpl = 1}), "");
    fake.set32(0x30, 0xffffffff);  // asked for by the host
    EXPECT_EQ(fake.judge({.max_vmpl = 3}), "snp.vmpl");
}

TEST(SnpPolicy, TcbVersionsThatContradictEachOtherAreRefused) {
    FakeSnp committed;
    committed.set_tcb(0x1e0, {5, 0, 0, 0, 0, 0, 24, 219});
    EXPECT_EQ(committed.judge(), "snp.tcb-order");
    FakeSnp current;
    current.set_tcb(0x38, {4, 0, 0, 0, 0, 0, 23, 219});
    current.set_tcb(0x1e0, {4, 0, 0, 0, 0, 0, 23, 219});
    EXPECT_EQ(current.judge(), "snp.tcb-order");
}

TEST(SnpPolicy, OlderTcbThanAllowedIsRefusedInEachPart) {
    FakeSnp fake;
    const snp::Tcb exact{.fmc = {}, .bootloader = 4, .tee = 0, .snp = 24, .microcode = 219};
    EXPECT_EQ(fake.judge({.min_tcb = exact}), "");
    for (std::uint8_t snp::Tcb::* const part :
         {&snp::Tcb::bootloader, &snp::Tcb::tee, &snp::Tcb::snp, &snp::Tcb::microcode}) {
        snp::Tcb more = exact;
        ++(more.*part);
        EXPECT_EQ(fake.judge({.min_tcb = more}), "snp.min-tcb");
        EXPECT_EQ(fake.judge({.min_launch_tcb = more}), "snp.min-launch-tcb");
    }
    FakeSnp turin;
    turin.make_turin();
    EXPECT_EQ(turin.judge({.min_tcb = snp::Tcb{.fmc = 2}}), "snp.min-tcb");
}

TEST(SnpPolicy, OlderFirmwareThanAllowedIsRefused) {
    FakeSnp fake;
    fake.report[0x1e8] = std::byte{60};  // the current build does not count
    fake.report[0x1e9] = fake.report[0x1ed] = std::byte{55};
    fake.report[0x1ea] = fake.report[0x1ee] = std::byte{1};
    fake.report[0x1ec] = std::byte{29};
    EXPECT_EQ(fake.judge({.min_firmware = snp::FirmwareVersion{1, 55, 29}}), "");
    EXPECT_EQ(fake.judge({.min_firmware = snp::FirmwareVersion{1, 55, 30}}), "snp.min-firmware");
    EXPECT_EQ(fake.judge({.min_firmware = snp::FirmwareVersion{1, 54, 200}}), "");
}

TEST(SnpPolicy, LowerGuestSvnThanAllowedIsRefused) {
    FakeSnp fake;
    fake.set32(0x04, 3);
    EXPECT_EQ(fake.judge({.min_guest_svn = 3}), "");
    EXPECT_EQ(fake.judge({.min_guest_svn = 4}), "snp.min-guest-svn");
}

TEST(SnpPolicy, MeasurementMustBeOneOfThose) {
    FakeSnp fake;
    const Buffer good(48, std::byte{0x3e});
    const Buffer other(48, std::byte{0x3f});
    EXPECT_EQ(fake.judge({.measurements = {other, good}}), "");
    EXPECT_EQ(fake.judge({.measurements = {other}}), "snp.measurement");
    EXPECT_EQ(fake.judge({.measurements = {Buffer(47, std::byte{0x3e})}}), "snp.measurement");
}

TEST(SnpPolicy, HostDataMustBeThat) {
    FakeSnp fake;
    EXPECT_EQ(fake.judge({.host_data = Buffer(32)}), "");
    EXPECT_EQ(fake.judge({.host_data = Buffer(32, std::byte{1})}), "snp.host-data");
}

TEST(SnpPolicy, IdentityKeyMustBeOneOfThose) {
    FakeSnp fake;
    const Buffer key(48, std::byte{0x1d});
    EXPECT_EQ(fake.judge({.id_keys = {key}}), "snp.id-key");
    std::ranges::copy(key, fake.report.begin() + 0xe0);
    EXPECT_EQ(fake.judge({.id_keys = {key}}), "");
}

TEST(SnpPolicy, AuthorKeyCountsOnlyIfItIsEnabled) {
    FakeSnp fake;
    const Buffer key(48, std::byte{0xa0});
    std::ranges::copy(key, fake.report.begin() + 0x110);
    EXPECT_EQ(fake.judge({.author_keys = {key}}), "snp.author-key");
    fake.set32(0x48, 1);
    EXPECT_EQ(fake.judge({.author_keys = {key}}), "");
    EXPECT_EQ(fake.judge({.author_keys = {Buffer(48)}}), "snp.author-key");
    EXPECT_EQ(fake.judge(), "") << "a guest may have an author";
}

TEST(SnpPolicy, ChipMustBeOneOfThoseAndTold) {
    FakeSnp fake;
    const Buffer chip(64, std::byte{0xc1});
    EXPECT_EQ(fake.judge({.chips = {chip}}), "");
    EXPECT_EQ(fake.judge({.chips = {Buffer(64, std::byte{0xc2})}}), "snp.chip-not-allowed");
    std::ranges::fill(std::span{fake.report}.subspan(0x1a0, 64), std::byte{0});
    EXPECT_EQ(fake.judge({.chips = {Buffer(64)}}), "snp.chip-not-allowed");
}

TEST(SnpPolicy, PlatformMustHaveWhatIsDemandedAndNotWhatIsForbidden) {
    FakeSnp fake;
    fake.set64(0x40, std::uint64_t{1} << 5 | std::uint64_t{1} << 63);
    EXPECT_EQ(fake.judge(), "") << "a bit that nobody knows";
    EXPECT_EQ(fake.judge({.platform_demanded = 1 << 5}), "");
    EXPECT_EQ(fake.judge({.platform_demanded = 1 << 5 | 1 << 1}), "snp.platform");
    EXPECT_EQ(fake.judge({.platform_forbidden = 1 << 5}), "snp.platform");
}

TEST(SnpPolicy, MitigationsCountIfTheyWereThereAtLaunchToo) {
    FakeSnp fake;
    EXPECT_EQ(fake.judge({.mitigations_demanded = 1}), "snp.mitigations") << "a report that cannot tell";
    fake.set32(0, 5);
    fake.set64(0x200, 1);
    EXPECT_EQ(fake.judge({.mitigations_demanded = 1}), "snp.mitigations");
    fake.set64(0x1f8, 1);
    EXPECT_EQ(fake.judge({.mitigations_demanded = 1}), "");
}

}  // namespace
}  // namespace holdfast::attest
