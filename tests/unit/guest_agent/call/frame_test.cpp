// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/frame.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "guest_agent/crypto/kdf.hpp"

namespace holdfast::agent::call {
namespace {

constexpr Header kHeader{.kind = Kind::Reply,
                         .service = 0x1122,
                         .method = 0x3344,
                         .length = 5,
                         .request = 0x0102030405060708,
                         .sequence = 0x1112131415161718};

std::vector<std::byte> stream_of(const Header& header, std::string_view body) {
    const HeaderBytes head = encode(header);
    std::vector<std::byte> bytes(head.size() + body.size());
    std::ranges::copy(head, bytes.begin());
    std::ranges::copy(text(body), bytes.begin() + kHeaderBytes);
    return bytes;
}

TEST(Frame, HeaderIsWrittenAsTheDocumentSays) {
    EXPECT_EQ(hex(encode(kHeader)), "4846434c01000300221144330500000008070605040302011817161514131211");
    EXPECT_EQ(*decode(encode(kHeader)), kHeader);
}

TEST(Frame, HeaderOfAnotherKindVersionOrLengthIsRefused) {
    for (const auto& [offset, value] :
         {std::pair{0, 0}, std::pair{4, 0}, std::pair{4, 2}, std::pair{5, 1}, std::pair{6, 0},
          std::pair{6, 5}, std::pair{7, 1}, std::pair{15, 1}}) {
        HeaderBytes bytes = encode(kHeader);
        bytes[static_cast<std::size_t>(offset)] = static_cast<std::byte>(value);
        EXPECT_FALSE(decode(bytes)) << offset;
    }
    EXPECT_TRUE(decode(encode({.length = kMaxBody})));
    EXPECT_FALSE(decode(encode({.length = kMaxBody + 1})));
}

TEST(FrameReader, FindsFramesHoweverTheStreamIsCut) {
    auto bytes = stream_of(kHeader, "first");
    const auto second = stream_of({.kind = Kind::Request, .length = 0}, "");
    bytes.insert(bytes.end(), second.begin(), second.end());
    for (std::size_t piece = 1; piece <= bytes.size(); ++piece) {
        FrameReader reader;
        std::vector<Frame> found;
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            Bytes input = Bytes{bytes}.subspan(at, std::min(piece, bytes.size() - at));
            for (;;) {
                auto frame = reader.take(input);
                ASSERT_TRUE(frame);
                if (!*frame) break;
                found.push_back(std::move(**frame));
            }
        }
        ASSERT_EQ(found.size(), 2U) << piece;
        EXPECT_TRUE(std::ranges::equal(found[0].body, text("first")));
        EXPECT_EQ(found[0].header, kHeader);
        EXPECT_TRUE(found[1].body.empty());
        EXPECT_TRUE(reader.is_between_frames());
    }
}

TEST(FrameReader, IsNotBetweenFramesInsideOne) {
    const auto bytes = stream_of(kHeader, "first");
    for (std::size_t size = 1; size < bytes.size(); ++size) {
        FrameReader reader;
        Bytes input = Bytes{bytes}.first(size);
        ASSERT_TRUE(reader.take(input));
        EXPECT_FALSE(reader.is_between_frames()) << size;
    }
}

TEST(FrameReader, GivesNothingAfterAnError) {
    FrameReader reader;
    auto bad = stream_of(kHeader, "first");
    bad[4] = std::byte{9};
    Bytes input = bad;
    EXPECT_FALSE(reader.take(input));
    const auto good = stream_of(kHeader, "first");
    input = good;
    EXPECT_FALSE(reader.take(input));
}

TEST(FrameReader, HeaderThatPromisesALongBodyCostsNoMemory) {
    FrameReader reader;
    const HeaderBytes head = encode({.length = kMaxBody});
    Bytes input = head;
    const auto frame = reader.take(input);
    ASSERT_TRUE(frame);
    EXPECT_FALSE(*frame);
}

}  // namespace
}  // namespace holdfast::agent::call
