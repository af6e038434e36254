// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/blob.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "guest_agent/call/services.hpp"
#include "guest_agent/crypto/kdf.hpp"

namespace holdfast::agent::call {
namespace {

class Blobs : public testing::Test {
protected:
    Key key = random_key();
    std::vector<std::byte> sealed = *seal_blob(key, "model", 7, text("weights"));
};

TEST_F(Blobs, ComeBack) {
    const auto blob = open_blob(key, "model", 7, sealed);
    EXPECT_EQ(blob.value().version, 7U);
    EXPECT_TRUE(std::ranges::equal(blob.value().plain.bytes(), text("weights")));
    EXPECT_TRUE(open_blob(key, "empty", 0, *seal_blob(key, "empty", 0, {})));
}

TEST_F(Blobs, AnswerWithAnotherBlobAnOlderOneOrByAnotherKeyIsRefused) {
    EXPECT_FALSE(open_blob(key, "other", 7, sealed));
    EXPECT_FALSE(open_blob(key, "model", 8, sealed));
    EXPECT_FALSE(open_blob(random_key(), "model", 7, sealed));
}

TEST_F(Blobs, EveryBitAndEveryLengthIsProtected) {
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(open_blob(key, "model", 0, sealed)) << bit;
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    for (std::size_t size = 0; size < sealed.size(); ++size) {
        EXPECT_FALSE(open_blob(key, "model", 0, Bytes{sealed}.first(size))) << size;
    }
}

TEST(Services, MessagesComeBackAndNothingElseDecodes) {
    const auto status = encode(
        Status{.version = "0.1", .state = "running", .program_status = -1, .uptime_ms = 5, .has_tpm = true});
    EXPECT_EQ(decode_status(status)->program_status, -1);
    EXPECT_TRUE(decode_status(status)->has_tpm);
    const auto blob = encode(NamedBlob{.name = "a-b_c.D", .bytes = {std::byte{1}}});
    EXPECT_EQ(decode_named_blob(blob)->bytes.size(), 1U);
    for (std::size_t size = 0; size < status.size(); ++size) {
        EXPECT_FALSE(decode_status(Bytes{status}.first(size))) << size;
    }
    for (std::size_t size = 0; size < blob.size(); ++size) {
        EXPECT_FALSE(decode_named_blob(Bytes{blob}.first(size))) << size;
    }
    auto longer = status;
    longer.push_back(std::byte{});
    EXPECT_FALSE(decode_status(longer));
}

TEST(Services, NameThatWouldBeAPathIsRefused) {
    for (const char* name : {"", ".", "..", ".hidden", "a/b", "../a", "a b", "a\n", "\xc3\xa4"}) {
        EXPECT_FALSE(decode_blob_name(encode_blob_name(name))) << name;
    }
    EXPECT_TRUE(decode_blob_name(encode_blob_name(std::string(kMaxBlobName, 'a'))));
    EXPECT_FALSE(decode_blob_name(encode_blob_name(std::string(kMaxBlobName + 1, 'a'))));
}

}  // namespace
}  // namespace holdfast::agent::call
