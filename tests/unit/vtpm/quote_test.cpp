// SPDX-License-Identifier: Apache-2.0
// What the host asks a vTPM for, against a TPM that lies. The real one answers in
// tests/attest/evidence_test.py.
#include "vtpm/quote.hpp"

#include <gtest/gtest.h>

#include "vtpm/tpm2/attestation.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::vtpm {
namespace {

std::vector<std::byte> failure(std::uint32_t code) { return tpm2::bare_response(code); }

TEST(OwnQuote, RefusalOfTheTpmIsToldInWords) {
    const std::vector<std::byte> nonce(16);
    for (const auto& [code, words] :
         {std::pair{0x100U, "the vTPM was not started"},
          std::pair{0x9a2U, "the guest has put a password on the endorsement hierarchy"},
          std::pair{0x902U, "the guest has filled the vTPM with keys: try again"},
          std::pair{0x101U, "the vTPM does not make its attestation key"}}) {
        int asked = 0;
        const auto quote = quote_itself(nonce, [&](std::span<std::byte>) {
            ++asked;
            return failure(code);
        });
        ASSERT_FALSE(quote);
        EXPECT_STREQ(quote.error().what, words);
        EXPECT_EQ(asked, 1);  // what was never loaded is not flushed
    }
}

TEST(OwnQuote, KeyIsFlushedWhateverComesAfter) {
    std::vector<std::uint32_t> codes;
    const auto quote = quote_itself(std::vector<std::byte>(16), [&](std::span<std::byte> command) {
        codes.push_back(tpm2::parse_header(command)->code);
        if (codes.size() > 1) return failure(0x101);
        tpm2::Writer answer;
        answer.put(std::uint16_t{0x8002});
        answer.put(std::uint32_t{10 + 4 + 4 + 2 + 1});
        answer.put(std::uint32_t{0});
        answer.put(std::uint32_t{0x80000000});
        answer.put(std::uint32_t{3});
        answer.put(std::uint16_t{1});
        answer.put(std::uint8_t{7});
        return answer.take();
    });
    EXPECT_FALSE(quote);
    EXPECT_EQ(codes, (std::vector<std::uint32_t>{0x131, 0x17a, 0x165}));
}

TEST(OwnQuote, EndsWithATpmThatGivesNothing) {
    // A TPM whose every answer is a success without a body.
    const auto quote =
        quote_itself(std::vector<std::byte>(16), [](std::span<std::byte>) { return failure(0); });
    EXPECT_FALSE(quote);
}

TEST(OwnQuote, MessagesComeBackAndNothingElseDecodes) {
    OwnQuote own{.attest = {std::byte{1}},
                 .signature = {std::byte{2}},
                 .key = {std::byte{3}},
                 .banks = {{.alg = 11, .pcrs = 5, .values = {std::byte{4}}}},
                 .ak_certificate = {std::byte{5}},
                 .ek_certificate = {}};
    const auto bytes = encode_quote_answer(own);
    const auto answer = decode_quote_answer(bytes);
    ASSERT_TRUE(answer && answer->quote);
    EXPECT_EQ(answer->quote->banks.front().pcrs, 5U);
    EXPECT_EQ(encode_quote_answer(*answer->quote), bytes);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_quote_answer(std::span{bytes}.first(size))) << size;
    }
    const auto refused = decode_quote_answer(encode_quote_answer(guest_fault("no")));
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->refusal, "no");
    EXPECT_FALSE(decode_quote_request(std::vector<std::byte>(5)));
}

TEST(AttestationKey, TemplateIsAKeyThatSignsOnlyWhatItsTpmMade) {
    const auto area = tpm2::ak_template();
    EXPECT_EQ(area.size(), 88U);
    EXPECT_TRUE(tpm2::parse_ak(area));
    auto other = area;
    other[5] ^= std::byte{1};
    EXPECT_FALSE(tpm2::parse_ak(other));
    EXPECT_FALSE(tpm2::parse_ak(std::span{area}.first(area.size() - 1)));
}

}  // namespace
}  // namespace holdfast::vtpm
