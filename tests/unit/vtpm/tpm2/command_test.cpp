// SPDX-License-Identifier: Apache-2.0
// The bytes are those of the TPM 2.0 Library's tables, written by hand; tests/tpm runs them against swtpm.
#include "vtpm/tpm2/command.hpp"

#include <string>

#include <gtest/gtest.h>

namespace holdfast::tpm2 {
namespace {

std::vector<std::byte> from_hex(std::string_view digits) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes.push_back(static_cast<std::byte>(std::stoi(std::string{digits.substr(i, 2)}, nullptr, 16)));
    }
    return bytes;
}

TEST(Tpm2Command, StartupAndShutdown) {
    EXPECT_EQ(hex(startup(Su::CLEAR)), "80010000000c000001440000");
    EXPECT_EQ(hex(shutdown(Su::STATE)), "80010000000c000001450001");
}

TEST(Tpm2Command, SelfTestIsOfWhatWasNotTested) {
    EXPECT_EQ(hex(self_test()), "80010000000b0000014300");
    EXPECT_EQ(hex(get_untested()), "80010000000e0000014200000000");
}

TEST(Tpm2Command, PcrExtendHasAnEmptyPasswordAndADigestOfEachBank) {
    Digest digest{.alg = Alg::SHA256};
    digest.bytes().front() = std::byte{0xaa};
    const auto command = pcr_extend(4, {&digest, 1});
    EXPECT_EQ(hex(command).substr(0, 70), "80020000004100000182"
                                          "00000004"
                                          "00000009"
                                          "40000009"
                                          "0000"
                                          "00"
                                          "0000"
                                          "00000001"
                                          "000b"
                                          "aa00");
    EXPECT_EQ(command.size(), 0x41U);
}

TEST(Tpm2Command, PcrReadSelectsByABitmap) {
    const PcrBank bank{.alg = 0x000b, .pcrs = 1U << 4 | 1U << 8 | 1U << 23};
    EXPECT_EQ(hex(pcr_read({&bank, 1})), "8001000000140000017e"
                                         "00000001"
                                         "000b"
                                         "03"
                                         "100180");
}

TEST(Tpm2Response, SizeOtherThanTheMessagesIsAPeerFault) {
    EXPECT_TRUE(parse_response(from_hex("80010000000a00000000")));
    EXPECT_FALSE(parse_response(from_hex("80010000000b00000000")));
    EXPECT_FALSE(parse_response(from_hex("8001000000ff00000000")));
    EXPECT_FALSE(parse_response(from_hex("80010000000a000000")));
    EXPECT_FALSE(parse_response({}));
}

TEST(Tpm2Response, UnknownTagOrFailureWithABodyIsAPeerFault) {
    EXPECT_FALSE(parse_response(from_hex("80050000000a00000000")));
    EXPECT_FALSE(parse_response(from_hex("80010000000b0000010000")));
    const auto failed = parse_response(from_hex("80010000000a00000101"));
    ASSERT_TRUE(failed);
    EXPECT_EQ(failed->code, rc::FAILURE);
    EXPECT_FALSE(expect_success(from_hex("80010000000a00000101"), "no"));
}

TEST(Tpm2Response, BanksAreReadAndBounded) {
    const auto banks = parse_pcr_banks(from_hex("00"
                                                "00000005"
                                                "00000002"
                                                "000b03ffffff"
                                                "000c03000000"));
    ASSERT_TRUE(banks);
    EXPECT_EQ(*banks, (std::vector<PcrBank>{{0x0b, kAllPcrs}, {0x0c, 0}}));
    EXPECT_FALSE(parse_pcr_banks(from_hex("00"
                                          "00000005"
                                          "ffffffff"
                                          "000b03ffffff")))
        << "count";
    EXPECT_FALSE(parse_pcr_banks(from_hex("00"
                                          "00000005"
                                          "00000001"
                                          "000b05ffffffffff")))
        << "select";
    EXPECT_FALSE(parse_pcr_banks(from_hex("00"
                                          "00000006"
                                          "00000000")))
        << "capability";
    EXPECT_FALSE(parse_pcr_banks(from_hex("00"
                                          "00000005"
                                          "00000001"
                                          "000b03ffffff"
                                          "00")))
        << "trailing";
    EXPECT_FALSE(parse_pcr_banks(from_hex("00"
                                          "00000005"
                                          "00000001"
                                          "000b03ffff")))
        << "cut";
}

TEST(Tpm2Response, PcrValuesAreReadAndBounded) {
    const std::string head = "00000007"
                             "00000001"
                             "000b03100000";
    const auto values = parse_pcr_read(from_hex(head + "00000001"
                                                       "0002"
                                                       "abcd"));
    ASSERT_TRUE(values);
    ASSERT_EQ(values->digests.size(), 1U);
    EXPECT_EQ(hex(values->digests[0]), "abcd");
    EXPECT_FALSE(parse_pcr_read(from_hex(head + "00000001"
                                                "ffff"
                                                "abcd")));
    EXPECT_FALSE(parse_pcr_read(from_hex(head + "00000009"
                                                "0000")));
}

// FIPS 180-4 examples, "abc".
TEST(Tpm2Hash, PublishedVectors) {
    const auto abc = from_hex("616263");
    EXPECT_EQ(hex(hash(Alg::SHA256, abc).bytes()),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(
        hex(hash(Alg::SHA384, abc).bytes()),
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
}

}  // namespace
}  // namespace holdfast::tpm2
