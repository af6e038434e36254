// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/request.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::vtpm::channel {
namespace {

std::vector<std::byte> request(std::uint32_t command, std::size_t body) {
    const Be<std::uint32_t> head{command};
    const auto bytes = std::as_bytes(std::span{&head, 1});
    std::vector<std::byte> out{bytes.begin(), bytes.end()};
    out.resize(out.size() + body);
    return out;
}

void put_length(std::vector<std::byte>& out, std::size_t at, std::uint32_t length) {
    const Be<std::uint32_t> value{length};
    std::ranges::copy(std::as_bytes(std::span{&value, 1}), out.begin() + static_cast<std::ptrdiff_t>(at));
}

// The lengths of research: each command's struct behind its number.
TEST(ChannelRequest, EachCommandIsCompleteWithItsStructAndNotBefore) {
    constexpr std::array<std::size_t, 20> kBody{0, 0, 4,  0,  0, 1, 0, 4, 0,  0,
                                                0, 1, 12, 12, 0, 0, 0, 4, 16, 4};
    for (std::uint32_t command = 1; command <= 19; ++command) {
        const auto whole = request(command, kBody[command]);
        for (std::size_t size = 0; size < whole.size(); ++size) {
            const auto early = parse(std::span{whole}.first(size));
            ASSERT_TRUE(early);
            EXPECT_FALSE(*early) << command << " of " << size << " bytes";
        }
        const auto parsed = parse(whole);
        ASSERT_TRUE(parsed && *parsed) << command;
        EXPECT_EQ((*parsed)->command, static_cast<Command>(command));
        EXPECT_EQ((*parsed)->size, whole.size());
        EXPECT_EQ((*parsed)->body.size(), kBody[command]);
    }
}

// QEMU sends four bytes of a locality, swtpm_ioctl one; three stray ones must not become a request.
TEST(ChannelRequest, LocalityMayHaveOneOrFourBytes) {
    for (const auto command : {Command::SET_LOCALITY, Command::RESET_TPMESTABLISHED}) {
        for (std::size_t body = 1; body <= 4; ++body) {
            const auto parsed = parse(request(static_cast<std::uint32_t>(command), body));
            ASSERT_TRUE(parsed && *parsed);
            EXPECT_EQ((*parsed)->size, 4 + body);
        }
        const auto more = parse(request(static_cast<std::uint32_t>(command), 5));
        EXPECT_EQ((*more)->size, 8U);
    }
}

TEST(ChannelRequest, BlobWaitsForItsBodyUpToTheLimit) {
    auto blob = request(13, 12);
    put_length(blob, 12, 5);
    EXPECT_FALSE(*parse(blob));
    blob.resize(blob.size() + 5);
    ASSERT_TRUE(*parse(blob));
    EXPECT_EQ((*parse(blob))->body.size(), 17U);
    put_length(blob, 12, kMaxBlobBytes);
    EXPECT_TRUE(parse(blob));
    put_length(blob, 12, kMaxBlobBytes + 1);
    EXPECT_FALSE(parse(blob));
    put_length(blob, 12, 0xffffffff);
    EXPECT_FALSE(parse(blob));
}

TEST(ChannelRequest, HashDataWaitsForItsBodyUpToTheLimit) {
    auto data = request(7, 4);
    put_length(data, 4, kMaxTpmBuffer);
    EXPECT_TRUE(parse(data));
    put_length(data, 4, kMaxTpmBuffer + 1);
    EXPECT_FALSE(parse(data));
}

TEST(ChannelRequest, UnknownCommandIsEverythingThatArrived) {
    for (const std::uint32_t command : {0U, 20U, 0xffffffffU}) {
        const auto parsed = parse(request(command, 9));
        ASSERT_TRUE(parsed && *parsed);
        EXPECT_EQ((*parsed)->size, 13U);
    }
}

}  // namespace
}  // namespace holdfast::vtpm::channel
