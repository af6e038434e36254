// SPDX-License-Identifier: Apache-2.0
// Azure's evidence, made of a synthetic platform's reports and a key of the test's own in the place of its
// vTPM's.
#include "attest/verify/azure.hpp"

#include <algorithm>

#include "attest/text/encoding.hpp"
#include "tests/unit/attest/fake_snp.hpp"
#include "tests/unit/attest/fake_tdx.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest {
namespace {

using namespace test;

std::string base64url(std::span<const std::byte> bytes) {
    std::string text(bytes.size() * 4 / 3 + 4, '\0');
    // SAFETY: characters as bytes.
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), raw(bytes),
                                     static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    std::ranges::replace(text, '+', '-');
    std::ranges::replace(text, '/', '_');
    while (text.ends_with('=')) text.pop_back();
    return text;
}

Buffer number_of(const Key& key, const char* name) {
    BIGNUM* number = nullptr;
    EXPECT_EQ(EVP_PKEY_get_bn_param(key.native(), name, &number), 1);
    std::vector<unsigned char> bytes(static_cast<std::size_t>(BN_num_bytes(number)));
    BN_bn2bin(number, bytes.data());
    BN_free(number);
    return buffer(bytes);
}

struct FakeAzure {
    static inline const Key ak = Key::rsa();
    FakeSnp snp;
    FakeTdx tdx;
    bool on_tdx = false;
    std::string key_id = "HCLAkPub";
    Buffer variable_data;
    unsigned hash_type = 1;
    Buffer nonce = buffer("nonce");
    bool bound = true;  ///< the hardware states the hash of the variable data
    bool same_td = true;
    bool with_vcek = true;
    bool with_td_quote = true;
    bool good_hcl = true;
    Buffer pcr = Buffer(32, std::byte{7});

    FakeAzure() { tdx.body[123] = std::byte{0}; }  // as Azure's TDs are

    Buffer td_report() const {
        Buffer report(1024);
        if (tdx.body.size() < 584) return report;  // an enclave's
        std::ranges::copy(std::span{tdx.body}.subspan(520, 64), report.begin() + 128);
        std::ranges::copy(std::span{tdx.body}.subspan(136, 48), report.begin() + 528);
        if (!same_td) report[528] ^= std::byte{1};
        return report;
    }
    Buffer hcl() {
        const std::string keys = R"({"keys":[{"kid":"HCLEkPub","n":"AQAB","e":"AQAB"},{"kid":")" + key_id +
                                 R"(","kty":"RSA","e":")" + base64url(number_of(ak, "e")) + R"(","n":")" +
                                 base64url(number_of(ak, "n")) + R"("}],"user-data":"00"})";
        variable_data = buffer(keys);
        const auto alg = hash_type == 1   ? HashAlg::Sha256
                         : hash_type == 2 ? HashAlg::Sha384
                                          : HashAlg::Sha512;
        const Digest digest = hash(alg, variable_data);
        if (bound) {
            std::ranges::copy(digest.bytes(), snp.report.begin() + 0x50);
            std::ranges::copy(digest.bytes(), tdx.body.begin() + 520);
        }
        snp.sign();
        Buffer out = buffer("HCLA");
        for (const std::size_t number : {std::size_t{1}, std::size_t{0}, std::size_t{2}, std::size_t{0},
                                         std::size_t{0}, std::size_t{0}, std::size_t{0}}) {
            append32(out, number);
        }
        Buffer hardware = on_tdx ? td_report() : Buffer{snp.report.begin(), snp.report.end()};
        hardware.resize(1184);
        append(out, hardware);
        append32(out, 20 + variable_data.size());
        append32(out, 1);
        append32(out, on_tdx ? 4 : 2);
        append32(out, hash_type);
        append32(out, variable_data.size());
        append(out, variable_data);
        append(out, Buffer(100));
        return out;
    }
    Buffer statement() const {
        Buffer values;
        for (int i = 0; i < 24; ++i) append(values, pcr);
        tpm2::Writer out;
        out.put(std::uint32_t{0xff544347});
        out.put(std::uint16_t{0x8018});
        out.put(std::uint16_t{0});
        out.put(static_cast<std::uint16_t>(nonce.size()));
        out.put_raw(nonce);
        out.put(std::uint64_t{1000});
        out.put(std::uint32_t{1});
        out.put(std::uint32_t{0});
        out.put(std::uint8_t{1});
        out.put(std::uint64_t{2});
        out.put(std::uint32_t{1});
        out.put(std::uint16_t{0x000b});
        out.put_raw(Buffer{std::byte{3}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff}});
        out.put(std::uint16_t{32});
        out.put_raw(hash(HashAlg::Sha256, values).bytes());
        return out.take();
    }
    static Buffer rsa_signature(const Buffer& message) {
        const std::unique_ptr<EVP_MD_CTX, FreeWith<EVP_MD_CTX_free>> context{EVP_MD_CTX_new()};
        std::vector<unsigned char> signature(256);
        std::size_t size = signature.size();
        EXPECT_EQ(EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, ak.native()), 1);
        EXPECT_EQ(EVP_DigestSign(context.get(), signature.data(), &size, raw(message), message.size()), 1);
        return buffer(signature);
    }
    std::string json() {
        Buffer report = hcl();
        if (!good_hcl) report[0] ^= std::byte{1};
        const Buffer message = statement();
        std::string pcrs;
        for (int i = 0; i < 24; ++i) pcrs += (i == 0 ? "\"" : ",\"") + hex(pcr) + "\"";
        std::string text = R"({"version":1,"hcl_report":")" + base64url(report) +
                           R"(","tpm_quote":{"message":")" + hex(message) + R"(","signature":")" +
                           hex(rsa_signature(message)) + R"(","pcrs":[)" + pcrs + "]}";
        if (on_tdx && with_td_quote) text += R"(,"td_quote":")" + base64url(tdx.quote()) + "\"";
        if (!on_tdx && with_vcek) text += R"(,"vcek":")" + base64url(snp.endorsement().der()) + "\"";
        return text + "}";
    }
    std::string judge() { return judge_text(json()); }
    std::string judge_text(const std::string& text) {
        last = {};
        const auto parts = azure::parse_evidence(text);
        if (!parts) {
            last.add(Code::AzureMalformed, parts.error().what);
            return reasons(last);
        }
        const Certificate amd_root = snp.root();
        const Certificate ask = snp.middle();
        const Certificate intel_root = tdx.root();
        auto amd = std::move(*ChainVerifier::create(std::span{&amd_root, 1}));
        auto intel = std::move(*ChainVerifier::create(std::span{&intel_root, 1}));
        const Buffer expected = buffer("nonce");
        const AzureEvidence evidence{
            .parts = &*parts,
            .nonce = expected,
            .last_seen = {},
            .amd = {.verifier = &amd, .known = {.presented = {}, .helpers = std::span{&ask, 1}, .at = kNow}},
            .intel = {.verifier = &intel, .known = {.presented = {}, .at = kNow}},
            .collateral = {}};
        (void)verify_azure(evidence, AzurePolicy{}, last);
        return reasons(last);
    }
    Findings last;
};

TEST(AzureEvidence, GoodOneIsAccepted) {
    FakeAzure fake;
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.is_accepted());
    fake.on_tdx = true;
    EXPECT_EQ(fake.judge(), "");
    EXPECT_TRUE(fake.last.is_accepted());
}

TEST(AzureEvidence, HashMayBeALongerOne) {
    FakeAzure fake;
    fake.hash_type = 2;
    EXPECT_EQ(fake.judge(), "");
    fake.hash_type = 3;
    EXPECT_EQ(fake.judge(), "");
}

TEST(AzureEvidence, KeysThatTheHardwareDoesNotStateAreRefused) {
    FakeAzure fake;
    fake.bound = false;
    EXPECT_EQ(fake.judge(), "azure.variable-data");
    fake.on_tdx = true;
    EXPECT_EQ(fake.judge(), "azure.variable-data");
}

TEST(AzureEvidence, ReportOfAnotherTdIsRefused) {
    FakeAzure fake;
    fake.on_tdx = true;
    fake.same_td = false;
    EXPECT_EQ(fake.judge(), "azure.td-report");
}

TEST(AzureEvidence, MissingHardwareReportIsRefused) {
    FakeAzure fake;
    fake.with_vcek = false;
    EXPECT_EQ(fake.judge(), "azure.report-kind");
    fake.on_tdx = true;
    fake.tdx.tee_type = 0;  // a quote of an enclave
    fake.tdx.body.resize(384);
    fake.bound = false;
    EXPECT_EQ(fake.judge(), "tdx.not-tdx azure.report-kind");
    FakeAzure bare;
    bare.on_tdx = true;
    bare.with_td_quote = false;
    EXPECT_EQ(bare.judge(), "azure.report-kind");
}

TEST(AzureEvidence, MalformedHardwareReportIsRefused) {
    FakeAzure fake;
    fake.snp.report[0] = std::byte{0xff};  // its version
    EXPECT_EQ(fake.judge(), "snp.malformed");
    FakeAzure around;
    around.good_hcl = false;
    EXPECT_EQ(around.judge(), "azure.malformed");
    fake.on_tdx = true;
    fake.bound = false;
    fake.tdx.body.resize(100);
    EXPECT_EQ(fake.judge(), "tdx.malformed");
}

TEST(AzureEvidence, OtherNonceIsRefused) {
    FakeAzure fake;
    fake.nonce = buffer("nonc");
    EXPECT_EQ(fake.judge(), "tpm.nonce");
}

TEST(AzureEvidence, HclReportsAreReadStrictly) {
    FakeAzure fake;
    const Buffer good = fake.hcl();
    EXPECT_TRUE(azure::parse_hcl_report(good).has_value());
    for (std::size_t size = 0; size < good.size() - 100; size += 7) {
        EXPECT_FALSE(azure::parse_hcl_report(std::span{good}.first(size)).has_value()) << size;
    }
    const auto changed = [&](std::size_t offset) {
        Buffer other = good;
        other[offset] ^= std::byte{0x20};
        return azure::parse_hcl_report(other).has_value();
    };
    EXPECT_FALSE(changed(0)) << "magic";
    EXPECT_FALSE(changed(0x4c0)) << "size";
    EXPECT_FALSE(changed(0x4c8)) << "kind of hardware";
    EXPECT_FALSE(changed(0x4cc)) << "hash";
    EXPECT_FALSE(changed(0x4d0)) << "size of the variable data";
    EXPECT_FALSE(changed(good.size() - 1)) << "padding";
}

TEST(AzureEvidence, EvidenceWithoutTheKeyOfTheVtpmIsMalformed) {
    FakeAzure fake;
    fake.key_id = "HCLSomething";
    EXPECT_EQ(fake.judge(), "azure.malformed");
}

TEST(AzureEvidence, MalformedJsonIsRefused) {
    FakeAzure fake;
    const std::string good = fake.json();
    for (const char* part : {"hcl_report", "tpm_quote", "message", "signature", "pcrs"}) {
        EXPECT_EQ(fake.judge_text(replaced(good, part, "other")), "azure.malformed") << part;
    }
    EXPECT_EQ(fake.judge_text(std::string(std::size_t{64} << 20, '{')), "azure.malformed");
}

TEST(AzureEvidence, OlderFormHasArraysOfBytes) {
    const auto evidence = azure::parse_evidence(
        R"({"quote":{"signature":[1,2],"message":[255,84],"pcrs":[[0,1]]},"report":[72,67],"vcek":"-----BEGIN x\n"})");
    ASSERT_TRUE(evidence.has_value());
    EXPECT_EQ(evidence->hcl_report, buffer("HC"));
    EXPECT_EQ(evidence->quote.message, (Buffer{std::byte{255}, std::byte{84}}));
    EXPECT_EQ(evidence->quote.pcrs.at(0), (Buffer{std::byte{0}, std::byte{1}}));
    EXPECT_EQ(evidence->vcek, buffer("-----BEGIN x\n"));
    EXPECT_FALSE(azure::parse_evidence(R"({"quote":{"signature":[256],"message":[],"pcrs":[]},"report":[]})")
                     .has_value());
}

}  // namespace
}  // namespace holdfast::attest
