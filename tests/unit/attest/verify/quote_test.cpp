// SPDX-License-Identifier: Apache-2.0
// A quote that is right, and one that is broken in one way for each reason there is: the reason is reported,
// alone, and the verdict is as its stage says. Take a check away, and its test fails.
#include "attest/verify/quote.hpp"

#include <algorithm>
#include <functional>
#include <ostream>

#include <gmock/gmock.h>

#include "attest/formats/ima/list.hpp"
#include "tests/unit/attest/fake_tpm.hpp"
#include "tests/unit/attest/logs.hpp"

namespace holdfast::attest {

void PrintTo(Code code, std::ostream* out) { *out << row_of(code).name; }

namespace {

using test::Buffer;
using test::FakeTpm;
using test::LogWriter;
using test::Statement;

Buffer filled(std::size_t size, std::uint8_t value) { return Buffer(size, std::byte{value}); }

/// A quote in all its parts, made of the parts only when it is verified.
struct World {
    explicit World(FakeTpm::Key kind = FakeTpm::Key::P256) : tpm{kind} {
        for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
            pcrs[pcr] = filled(32, static_cast<std::uint8_t>(pcr < 17 ? pcr + 1 : 0xff));
        }
    }
    FakeTpm tpm;
    Statement statement;
    std::map<std::uint32_t, Buffer> pcrs;
    std::map<std::uint32_t, Buffer> shown;  // in place of those, behind the TPM's back
    tpm::QuotePolicy policy;
    AkTrust trust;
    std::optional<Buffer> bare_key;
    std::optional<Buffer> log;
    std::optional<Buffer> ima;
    std::optional<tpm::LastSeen> last_seen;
    std::optional<Buffer> nonce = test::bytes("nonce");
    std::function<void(Buffer&)> spoil_attest = [](Buffer&) {};
    std::function<void(Buffer&)> spoil_signature = [](Buffer&) {};
    std::function<void(Buffer&)> spoil_key = [](Buffer&) {};

    Findings verify() {
        if (statement.pcr_digest.empty()) statement.pcr_digest = digest();
        Buffer attest = statement.encode();
        Buffer signature = tpm.sign(attest);
        Buffer key = bare_key ? *bare_key : tpm.public_area();
        spoil_attest(attest);
        spoil_signature(signature);
        spoil_key(key);
        for (const auto& [pcr, value] : shown) pcrs[pcr] = value;
        Findings findings;
        (void)verify_quote({.attest = attest,
                            .signature = signature,
                            .key = key,
                            .trust = trust,
                            .pcrs = {tpm::GivenPcrs{.bank = 0, .values = pcrs}},
                            .nonce = nonce,
                            .event_log = log,
                            .ima_list = ima,
                            .last_seen = last_seen},
                           policy, findings);
        return findings;
    }
    Buffer digest() const {
        Hasher hasher{tpm.hash};
        for (const tpm2::PcrBank& bank : statement.selection) {
            for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
                if ((bank.pcrs >> pcr & 1) != 0 && pcrs.contains(pcr)) hasher.update(pcrs.at(pcr));
            }
        }
        const Digest digest = hasher.finish();
        return {digest.bytes().begin(), digest.bytes().end()};
    }
    void use_log(const LogWriter& writer) {
        log = writer.bytes();
        const auto parsed = eventlog::parse_log(*log, eventlog::Kind::Tcg);
        const auto registers = eventlog::replay(*parsed, HashAlg::Sha256);
        for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
            const auto& value = (*registers)[pcr];
            if (value) pcrs[pcr] = {value->bytes().begin(), value->bytes().end()};
        }
    }
    /// A list whose first entry sums up PCRs 0-9, and PCR 10 to go with it.
    void use_ima(const std::string& more, bool right_aggregate = true) {
        Hasher aggregate{HashAlg::Sha256};
        for (std::uint32_t pcr = 0; pcr < 10; ++pcr) aggregate.update(pcrs[pcr]);
        Digest sum = aggregate.finish();
        if (!right_aggregate) sum.bytes().front() ^= std::byte{1};
        const std::string text = test::ima_line("boot_aggregate", sum.bytes()) + more;
        ima = test::bytes(text);
        Findings ignored;
        const auto list = ima::parse_list(*ima, ignored);
        ASSERT_TRUE(list);
        const Digest pcr10 = ima::replay(*list, HashAlg::Sha256);
        pcrs[10] = {pcr10.bytes().begin(), pcr10.bytes().end()};
    }
};

LogWriter good_log() {
    namespace ev = eventlog::ev;
    LogWriter log;
    log.measure(0, ev::S_CRTM_VERSION, "v1");
    log.measure(7, ev::EFI_VARIABLE_DRIVER_CONFIG, test::variable("SecureBoot", "1"));
    log.separators();
    log.add(4, ev::EFI_BOOT_SERVICES_APPLICATION, "a path", "an image");
    log.measure(7, ev::EFI_VARIABLE_AUTHORITY, test::variable("db", "who"));
    return log;
}

const std::string kFile = test::ima_line("/usr/bin/init", filled(32, 7));
const std::string kViolation =
    "10 " + std::string(40, '0') + " ima-ng sha256:" + std::string(64, '0') + " /var/log/written\n";

struct Break {
    Code code;
    const char* how;
    std::function<void(World&)> spoil;
    FakeTpm::Key key = FakeTpm::Key::P256;
    // What cannot be wrong alone.
    std::vector<Code> along{};
};
void PrintTo(const Break& one, std::ostream* out) { *out << row_of(one.code).name << ", " << one.how; }

std::map<std::uint32_t, Digest> reference(std::uint32_t pcr, std::uint8_t value) {
    return {{pcr, *digest_from(HashAlg::Sha256, filled(32, value))}};
}

std::vector<Break> breaks() {
    namespace ev = eventlog::ev;
    const auto attribute = [](std::uint32_t bit) {
        return [bit](World& world) { world.tpm.attributes ^= bit; };
    };
    const auto with_log = [](std::function<void(LogWriter&)> write) {
        return [write](World& world) {
            LogWriter log;
            write(log);
            world.use_log(log);
        };
    };
    return {
        {Code::TpmMalformed, "attest cut",
         [](World& w) { w.spoil_attest = [](Buffer& b) { b.pop_back(); }; }},
        {Code::TpmMalformed, "attest with a byte more",
         [](World& w) { w.spoil_attest = [](Buffer& b) { b.push_back({}); }; }},
        {Code::TpmMalformed, "signature with a byte more",
         [](World& w) { w.spoil_signature = [](Buffer& b) { b.push_back({}); }; }},
        {Code::TpmMalformed, "signature of an unknown scheme",
         [](World& w) { w.spoil_signature = [](Buffer& b) { b[1] = std::byte{5}; }; }},
        {Code::TpmMalformed, "key with a byte more",
         [](World& w) { w.spoil_key = [](Buffer& b) { b.push_back({}); }; }},
        {Code::TpmAkAttributes, "not restricted", attribute(tpm::attribute::restricted)},
        {Code::TpmAkAttributes, "decrypts", attribute(tpm::attribute::decrypt)},
        {Code::TpmAkAttributes, "does not sign", attribute(tpm::attribute::sign)},
        {Code::TpmAkAttributes, "not fixedTPM", attribute(tpm::attribute::fixedTPM)},
        {Code::TpmAkAttributes, "not fixedParent", attribute(tpm::attribute::fixedParent)},
        {Code::TpmAkAttributes, "made elsewhere", attribute(tpm::attribute::sensitiveDataOrigin)},
        {Code::TpmAkCertificate, "certificate of another key",
         [](World& w) {
             w.trust = {.by = AkTrust::By::Certificate,
                        .names = {},
                        .certified = *PublicKey::from_spki(FakeTpm{FakeTpm::Key::P256}.spki())};
         }},
        {Code::TpmAkUnknown, "not on the list",
         [](World& w) { w.trust = {.by = AkTrust::By::Name, .names = {filled(34, 1)}, .certified = {}}; }},
        {Code::TpmScheme, "another hash than the key's",
         [](World& w) { w.tpm.area_scheme_hash = static_cast<std::uint16_t>(HashAlg::Sha384); }},
        {Code::TpmScheme, "a hash that is not known",
         [](World& w) { w.spoil_signature = [](Buffer& b) { b[3] = std::byte{0x12}; }; }},
        {Code::TpmSignature, "a bit of the statement",
         [](World& w) { w.spoil_attest = [](Buffer& b) { b[30] ^= std::byte{1}; }; }},
        {Code::TpmSignature, "a bit of the signature",
         [](World& w) { w.spoil_signature = [](Buffer& b) { b.back() ^= std::byte{1}; }; }},
        {Code::TpmSignature, "a bit of an RSA signature",
         [](World& w) { w.spoil_signature = [](Buffer& b) { b.back() ^= std::byte{1}; }; },
         FakeTpm::Key::Rsa2048},
        {Code::TpmMagic, "made outside of a TPM", [](World& w) { w.statement.magic = 0xff544346; }},
        {Code::TpmType, "another kind of statement",
         [](World& w) { w.statement.type = tpm::st::ATTEST_CERTIFY; }},
        {Code::TpmNonce, "another one", [](World& w) { w.nonce = test::bytes("nonCe"); }},
        {Code::TpmNonce, "a prefix", [](World& w) { w.statement.nonce = test::bytes("nonce with more"); }},
        {Code::TpmNonce, "none at all", [](World& w) { w.statement.nonce.clear(); }},
        {Code::TpmNonceNotAsked, "nobody asked",
         [](World& w) {
             w.nonce.reset();
             w.policy.nonce_required = true;
         }},
        {Code::LogMissing, "demanded", [](World& w) { w.policy.log_required = true; }},
        {Code::ImaMissing, "demanded", [](World& w) { w.policy.ima_required = true; }},
        {Code::TpmPcrMissing, "one value",
         [](World& w) { w.digest(), w.statement.pcr_digest = w.digest(), w.pcrs.erase(9); }},
        {Code::TpmPcrBank,
         "a bank of a hash that nobody knows",
         [](World& w) { w.statement.selection.push_back({.alg = 0x0012, .pcrs = 1}); },
         FakeTpm::Key::P256,
         {Code::TpmBank}},
        {Code::TpmPcrBank, "a value of another size", [](World& w) { w.shown[9] = filled(48, 9); }},
        {Code::TpmPcrDigest, "another value", [](World& w) { w.shown[9] = filled(32, 0x99); }},
        {Code::TpmPcrDigest, "two values exchanged",
         [](World& w) {
             w.shown[8] = w.pcrs[9];
             w.shown[9] = w.pcrs[8];
         }},
        {Code::TpmBank,
         "SHA-1",
         [](World& w) {
             w.statement.selection.push_back({.alg = 0x0004, .pcrs = 1});
             w.policy.hashes = {HashAlg::Sha256};
         },
         FakeTpm::Key::P256,
         {Code::TpmPcrBank}},
        {Code::TpmSignatureHash, "SHA-1", [](World& w) { w.tpm.hash = HashAlg::Sha1; }},
        {Code::TpmKeyWeak, "RSA of 1024 bits", [](World&) {}, FakeTpm::Key::Rsa1024},
        {Code::TpmSelection, "PCR 7 is not quoted",
         [](World& w) { w.statement.selection[0].pcrs = 0xffff7f; }},
        {Code::TpmSelection, "a pinned PCR is not quoted",
         [](World& w) {
             w.statement.selection[0].pcrs = 0xfffeff;
             w.policy.pcrs[HashAlg::Sha256] = reference(8, 9);
         }},
        {Code::TpmSelection, "a dynamic launch is not quoted",
         [](World& w) {
             w.statement.selection[0].pcrs = 0x01ffff;
             w.policy.drtm_required = true;
         }},
        {Code::TpmClockBack, "clock", [](World& w) { w.last_seen = {1001, 5, 1}; }},
        {Code::TpmClockBack, "restarts", [](World& w) { w.last_seen = {1, 5, 2}; }},
        {Code::TpmClockBack, "resets", [](World& w) { w.last_seen = {1, 6, 0}; }},
        {Code::TpmAkBare, "a bare key", [](World& w) { w.bare_key = w.tpm.spki(); }},
        {Code::TpmAkGiven, "as it comes", [](World&) {}},
        {Code::TpmClockUnsafe, "not safe", [](World& w) { w.statement.clock.safe = false; }},
        {Code::SrtmUnmeasured, "PCR 0 is zero", [](World& w) { w.pcrs[0] = filled(32, 0); }},
        {Code::SrtmPcr, "another value", [](World& w) { w.policy.pcrs[HashAlg::Sha256] = reference(4, 0); }},
        {Code::DrtmNone, "as at power-on", [](World& w) { w.policy.drtm_required = true; }},
        {Code::DrtmUnmeasured, "reset and not extended", [](World& w) { w.pcrs[17] = filled(32, 0); }},
        {Code::DrtmPcr, "another value", [](World& w) { w.policy.drtm[HashAlg::Sha256] = reference(17, 1); }},
        {Code::LogMalformed, "cut",
         [](World& w) {
             w.use_log(good_log());
             w.log->pop_back();
         }},
        {Code::LogReplay, "an event less",
         [](World& w) {
             w.use_log(good_log().measure(5, ev::EFI_ACTION, "more"));
             w.log = good_log().bytes();
         }},
        {Code::LogReplay, "no event of a PCR that was extended",
         [](World& w) {
             w.use_log(good_log());
             w.log = LogWriter{}.bytes();
         }},
        {Code::LogReplay, "an event of a PCR that there is not",
         [](World& w) {
             w.use_log(good_log());
             w.log = good_log().measure(24, ev::EFI_ACTION, "more").bytes();
         }},
        {Code::LogUnbound, "of a bank that was not quoted",
         [](World& w) { w.log = LogWriter{{HashAlg::Sha384}}.separators().bytes(); }},
        {Code::LogDigest, "other data",
         [](World& w) { w.use_log(good_log().add(5, ev::EFI_ACTION, "data", "other data")); }},
        {Code::LogSeparatorMissing, "of PCR 3", with_log([](LogWriter& log) {
             log.separators(0, 2).separators(4).measure(3, ev::EFI_ACTION, "x");
         })},
        {Code::LogSeparatorTwice, "of PCR 3", [](World& w) { w.use_log(good_log().separators(3, 3)); }},
        {Code::LogSeparatorValue, "one that is none",
         with_log([](LogWriter& log) { log.separators(0, 6).measure(7, ev::SEPARATOR, "zero"); })},
        {Code::LogSeparatorHidden, "as an event of another type",
         [](World& w) {
             LogWriter log = good_log();
             w.use_log(log.measure(7, ev::EFI_VARIABLE_AUTHORITY, LogWriter::kZero));
         }},
        {Code::LogOrder, "configuration behind the separator",
         [](World& w) {
             LogWriter log = good_log();
             w.use_log(log.measure(7, ev::EFI_VARIABLE_DRIVER_CONFIG, test::variable("db", "x")));
         }},
        {Code::LogOrder, "a boot application before the separator", with_log([](LogWriter& log) {
             log.add(4, ev::EFI_BOOT_SERVICES_APPLICATION, "a path", "an image").separators();
         })},
        {Code::LogSecureBootTwice, "off and on", with_log([](LogWriter& log) {
             for (const char* const value : {"0", "1"}) {
                 log.measure(7, ev::EFI_VARIABLE_DRIVER_CONFIG, test::variable("SecureBoot", value));
             }
             log.separators();
         })},
        {Code::ImaMalformed, "not a list", [](World& w) { w.ima = test::bytes("ten\n"); }},
        {Code::ImaTemplateHash, "another path",
         [](World& w) {
             w.use_ima(kFile);
             w.ima->at(w.ima->size() - 2) = std::byte{'T'};
         }},
        {Code::ImaReplay, "an entry less",
         [](World& w) {
             w.use_ima(kFile);
             w.ima->resize(w.ima->size() - kFile.size());
         }},
        {Code::ImaReplay, "PCR 10 is not quoted",
         [](World& w) {
             w.use_ima(kFile);
             w.statement.selection[0].pcrs = 0xfffbff;
         }},
        {Code::ImaViolation, "a file that was written", [](World& w) { w.use_ima(kFile + kViolation); }},
        {Code::ImaBootAggregate, "of another boot", [](World& w) { w.use_ima(kFile, false); }},
        {Code::ImaBootAggregate, "not the first entry",
         [](World& w) {
             w.use_ima("");
             w.ima = test::bytes(kFile);
             Findings ignored;
             const Digest pcr10 = ima::replay(*ima::parse_list(*w.ima, ignored), HashAlg::Sha256);
             w.pcrs[10] = {pcr10.bytes().begin(), pcr10.bytes().end()};
         }},
        {Code::ImaBootAggregate, "no entry",
         [](World& w) {
             w.ima = Buffer{};
             w.pcrs[10] = filled(32, 0);
         }},
        {Code::ImaBootAggregateUnknown, "PCR 6 and its kind are not quoted",
         [](World& w) {
             w.use_ima(kFile);
             w.statement.selection[0].pcrs = 0xffffbf;
             w.policy.measured_boot = false;
         }},
        {Code::ImaBootAggregateUnknown, "PCR 8 is not quoted",
         [](World& w) {
             w.use_ima(kFile);
             w.statement.selection[0].pcrs = 0xfffeff;
         }},
    };
}

std::vector<Code> refusals(const Findings& findings) {
    std::vector<Code> codes;
    for (const Finding& finding : findings.list()) {
        if (row_of(finding.code).stage == Stage::Note) continue;
        if (std::ranges::find(codes, finding.code) == codes.end()) codes.push_back(finding.code);
    }
    return codes;
}

class Broken : public ::testing::TestWithParam<Break> {};

TEST_P(Broken, IsReportedForItsReasonAndNoOther) {
    const Break& broken = GetParam();
    World world{broken.key};
    broken.spoil(world);
    const Findings findings = world.verify();
    EXPECT_TRUE(findings.has(broken.code));
    const Stage stage = row_of(broken.code).stage;
    std::vector<Code> expected = broken.along;
    if (stage != Stage::Note) expected.push_back(broken.code);
    EXPECT_THAT(refusals(findings), ::testing::UnorderedElementsAreArray(expected));
    if (!broken.along.empty()) return;
    EXPECT_EQ(findings.is_accepted(), stage == Stage::Note);
    EXPECT_EQ(findings.is_authentic(), stage == Stage::Note || stage == Stage::Appraise);
}
INSTANTIATE_TEST_SUITE_P(Quotes, Broken, ::testing::ValuesIn(breaks()));

TEST(Quote, EachReasonOfQuotesAndLogsHasItsTest) {
    const auto all = breaks();
    for (const CodeRow& row : code_table()) {
        const std::string_view format = row.name.substr(0, row.name.find('.'));
        if (format != "tpm" && format != "nonce" && format != "srtm" && format != "drtm" && format != "log" &&
            format != "ima")
            continue;
        EXPECT_NE(std::ranges::find(all, row.code, &Break::code), all.end()) << row.name;
    }
}

TEST(Quote, OfEachKeyHashAndSchemeIsAccepted) {
    for (const FakeTpm::Key key : {FakeTpm::Key::Rsa2048, FakeTpm::Key::P256, FakeTpm::Key::P384}) {
        for (const HashAlg hash : {HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512}) {
            for (const bool pss : {false, true}) {
                World world{key};
                if (pss && !world.tpm.is_rsa()) continue;
                world.tpm.hash = hash;
                world.tpm.pss = pss;
                EXPECT_THAT(refusals(world.verify()), ::testing::IsEmpty()) << static_cast<int>(key) << pss;
            }
        }
    }
}

TEST(Quote, WithLogAndListIsAccepted) {
    World world;
    world.use_log(good_log());
    world.use_ima(kFile);
    EXPECT_THAT(refusals(world.verify()), ::testing::IsEmpty());
}

TEST(Quote, ByAKeyOnTheListIsAcceptedAndWithoutANoteOfTrust) {
    World world;
    world.trust = {.by = AkTrust::By::Name,
                   .names = {tpm::parse_public(world.tpm.public_area())->name},
                   .certified = {}};
    const Findings findings = world.verify();
    EXPECT_TRUE(findings.is_accepted());
    EXPECT_FALSE(findings.has(Code::TpmAkGiven));
}

TEST(Quote, ReportsAllReasonsAtOnce) {
    World world{FakeTpm::Key::Rsa1024};
    world.nonce = test::bytes("other");
    world.tpm.hash = HashAlg::Sha1;
    world.pcrs[3] = filled(32, 0);
    world.policy.drtm_required = true;
    EXPECT_THAT(refusals(world.verify()),
                ::testing::UnorderedElementsAre(Code::TpmNonce, Code::TpmSignatureHash, Code::TpmKeyWeak,
                                                Code::SrtmUnmeasured, Code::DrtmNone));
}

TEST(Quote, ThatNobodyTrustsIsNotAppraised) {
    World world;
    world.trust = {.by = AkTrust::By::Name, .names = {}, .certified = {}};
    world.pcrs[3] = filled(32, 0);
    world.nonce = test::bytes("other");
    EXPECT_THAT(refusals(world.verify()), ::testing::ElementsAre(Code::TpmAkUnknown));
}

TEST(Quote, DynamicLaunchWithItsValuesIsAccepted) {
    World world;
    for (std::uint32_t pcr = 17; pcr < 23; ++pcr) world.pcrs[pcr] = filled(32, pcr == 17 ? 0x17 : 0);
    world.policy.drtm_required = true;
    world.policy.drtm[HashAlg::Sha256] = reference(17, 0x17);
    EXPECT_THAT(refusals(world.verify()), ::testing::IsEmpty());
}

TEST(Quote, CutAnywhereOrWithAnyByteChangedIsNeverAuthentic) {
    const World made;
    Statement statement = made.statement;
    statement.pcr_digest = made.digest();
    const std::size_t size = statement.encode().size();
    for (std::size_t i = 0; i < size; ++i) {
        World cut;
        cut.spoil_attest = [i](Buffer& b) { b.resize(i); };
        EXPECT_FALSE(cut.verify().is_authentic()) << i;
        World changed;
        changed.spoil_attest = [i](Buffer& b) { b[i] ^= std::byte{0x40}; };
        EXPECT_FALSE(changed.verify().is_authentic()) << i;
    }
}

}  // namespace
}  // namespace holdfast::attest
