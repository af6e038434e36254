// SPDX-License-Identifier: Apache-2.0
#include "attest/broker/message.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "attest/evidence/cbor.hpp"
#include "attest/text/encoding.hpp"

namespace holdfast::attest::broker {
namespace {

std::vector<std::byte> raw(std::string_view hex) { return *bytes_of_hex(hex); }

Request release(Bytes key, Bytes evidence) {
    return {.op = Op::Release, .name = "disk", .key = key, .evidence = evidence};
}

// {"v": 1, "op": "challenge"}, as another implementation writes it (RFC 8949 §4.2.1).
TEST(BrokerMessage, ChallengeIsTheBytesOfTheProtocol) {
    const auto bytes = raw("a2617601626f70696368616c6c656e6765");
    EXPECT_EQ(encode(Request{}), bytes);
    const auto request = decode_request(bytes);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->op, Op::Challenge);
}

TEST(BrokerMessage, ReleaseIsReadAsItWasWrittenAndCutNowhere) {
    const auto key = raw("0102");
    const auto evidence = raw("03");
    const auto bytes = encode(release(key, evidence));
    const auto request = decode_request(bytes);
    ASSERT_TRUE(request);
    EXPECT_EQ(request->name, "disk");
    EXPECT_TRUE(std::ranges::equal(request->key, key));
    EXPECT_TRUE(std::ranges::equal(request->evidence, evidence));
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_request(std::span{bytes}.first(size))) << size;
    }
}

TEST(BrokerMessage, FieldsAreOfTheirSizes) {
    const std::vector<std::byte> most(1024);
    const std::vector<std::byte> more(1025);
    EXPECT_TRUE(decode_request(encode(release(most, {}))));
    EXPECT_FALSE(decode_request(encode(release(more, {}))));
    EXPECT_FALSE(decode_request(encode(release({}, {}))));
    const std::string name(kMaxName + 1, 'x');
    EXPECT_FALSE(decode_request(encode({.op = Op::Release, .name = name, .key = most, .evidence = {}})));
    EXPECT_FALSE(decode_request(std::vector<std::byte>(kMaxRequest + 1)));
}

TEST(BrokerMessage, OtherVersionsAndOperationsAreRefused) {
    EXPECT_FALSE(decode_request(raw("a2617602626f70696368616c6c656e6765")));
    EXPECT_FALSE(decode_request(raw("a2617601626f70676368616c6c656e")));
    EXPECT_FALSE(decode_request(raw("a1617601")));
    EXPECT_FALSE(decode_request(raw("a2617601626f706772656c65617365")));  // a release of nothing
}

TEST(BrokerMessage, SecretStandsBehindItsHead) {
    const auto secret = raw("c0ffee");
    auto bytes = encode_secret_head(secret.size());
    bytes.insert(bytes.end(), secret.begin(), secret.end());
    const auto answer = decode_answer(bytes);
    ASSERT_TRUE(answer);
    EXPECT_TRUE(std::ranges::equal(answer->secret, secret));
}

TEST(BrokerMessage, RefusalHasAReasonAndANonceItsSize) {
    const std::vector<std::string> codes{"tpm.nonce", "launch.digest"};
    const auto refusal = encode_refusal(codes);
    const auto answer = decode_answer(refusal);
    ASSERT_TRUE(answer);
    ASSERT_EQ(answer->refused.size(), 2U);
    EXPECT_EQ(answer->refused[1], "launch.digest");
    EXPECT_FALSE(decode_answer(encode_refusal({})));
    EXPECT_TRUE(decode_answer(encode_nonce(std::vector<std::byte>(kNonceBytes))));
    EXPECT_FALSE(decode_answer(encode_nonce(std::vector<std::byte>(kNonceBytes - 1))));
}

}  // namespace
}  // namespace holdfast::attest::broker
