// SPDX-License-Identifier: Apache-2.0
#include "sys/wire/codec.hpp"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(Wire, WhatWasWrittenReadsBack) {
    WireWriter writer;
    writer.put(std::uint16_t{0x1234});
    writer.put_string("kelp");
    WireReader reader{writer.bytes()};
    EXPECT_EQ(reader.get<std::uint16_t>().value(), 0x1234);
    EXPECT_EQ(reader.get_string().value(), "kelp");
    EXPECT_TRUE(reader.expect_end().has_value());
}

TEST(Wire, BytesAreLittleEndian) {
    WireWriter writer;
    writer.put(std::uint32_t{0x01020304});
    EXPECT_EQ(writer.bytes()[0], std::byte{4});
    EXPECT_EQ(writer.bytes()[3], std::byte{1});
}

TEST(Wire, StringLongerThanTheMessageIsAPeerFault) {
    WireWriter writer;
    writer.put(std::uint32_t{0xffffffff});
    WireReader reader{writer.bytes()};
    const auto text = reader.get_string();
    ASSERT_FALSE(text.has_value());
    EXPECT_EQ(text.error().fault, Fault::Peer);
}

TEST(Wire, TrailingBytesAreAPeerFault) {
    WireWriter writer;
    writer.put(std::uint8_t{1});
    EXPECT_FALSE(WireReader{writer.bytes()}.expect_end().has_value());
}

}  // namespace
}  // namespace holdfast
