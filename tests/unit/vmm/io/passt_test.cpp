// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/passt.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::io {
namespace {

std::vector<std::byte> framed(std::uint32_t length, std::size_t size, char fill) {
    std::vector<std::byte> bytes(sizeof length + size, std::byte(fill));
    const FrameLength wire{length};
    std::memcpy(bytes.data(), &wire, sizeof wire);
    return bytes;
}

/// Feeds all of `stream` in pieces of `piece` bytes and collects what comes out.
Result<std::vector<std::vector<std::byte>>> decode(std::span<const std::byte> stream, std::size_t piece) {
    FrameDecoder decoder;
    std::vector<std::vector<std::byte>> frames;
    for (;;) {
        while (const auto frame = HF_TRY(decoder.next())) frames.emplace_back(frame->begin(), frame->end());
        if (stream.empty()) return frames;
        const auto room = decoder.room();
        if (room.empty()) return peer_fault("decoder has no room and no frame");
        const std::size_t size = std::min({piece, stream.size(), room.size()});
        std::memcpy(room.data(), stream.data(), size);
        decoder.filled(size);
        stream = stream.subspan(size);
    }
}

TEST(IoPasst, FramesSurviveAnyCutOfTheStream) {
    std::vector<std::byte> stream;
    const std::vector<std::size_t> sizes{kMinFrame, 60, 1514, kMaxFrame, 100, kMaxFrame, kMaxFrame, 15};
    for (const std::size_t size : sizes) {
        const auto frame = framed(static_cast<std::uint32_t>(size), size, static_cast<char>('a' + size % 26));
        stream.insert(stream.end(), frame.begin(), frame.end());
    }
    for (const std::size_t piece : {1UL, 3UL, 4096UL, 65536UL, 1UL << 20}) {
        const auto frames = decode(stream, piece);
        ASSERT_TRUE(frames) << piece;
        ASSERT_EQ(frames->size(), sizes.size()) << piece;
        for (std::size_t i = 0; i < sizes.size(); ++i) {
            ASSERT_EQ((*frames)[i].size(), sizes[i]);
            EXPECT_TRUE(std::ranges::all_of((*frames)[i], [&](std::byte b) {
                return b == std::byte(static_cast<char>('a' + sizes[i] % 26));
            }));
        }
    }
}

TEST(IoPasst, LengthOutOfRangeEndsTheStream) {
    for (const std::uint32_t length : {0U, 13U, static_cast<std::uint32_t>(kMaxFrame) + 1, 0xffffffffU}) {
        EXPECT_FALSE(decode(framed(length, 0, 'x'), 4)) << length;
    }
}

TEST(IoPasst, HalfALengthIsNoFrameYet) {
    FrameDecoder decoder;
    decoder.room()[0] = std::byte{0};
    decoder.filled(1);
    const auto frame = decoder.next();
    ASSERT_TRUE(frame);
    EXPECT_FALSE(*frame);
}

}  // namespace
}  // namespace holdfast::io
