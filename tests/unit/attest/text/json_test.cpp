// SPDX-License-Identifier: Apache-2.0
#include "attest/text/json.hpp"

#include <gtest/gtest.h>

#include "attest/text/encoding.hpp"

namespace holdfast::attest {
namespace {

bool parses(std::string_view text) { return JsonDocument::parse(text).has_value(); }

TEST(Json, ValuesKeepTheirOwnText) {
    const auto document = JsonDocument::parse(R"( {"a" : [1, 2] , "b":{"c" :"x"}} )");
    ASSERT_TRUE(document.has_value());
    EXPECT_EQ(document->root().at("a")->raw(), "[1, 2]");
    EXPECT_EQ(document->root().at("b")->raw(), R"({"c" :"x"})");
    EXPECT_EQ(*document->root().at("a")->elements()->at(1).number(), 2U);
    EXPECT_EQ(document->root().at("b")->at("c")->string().value(), "x");
}

TEST(Json, NameTwiceInAnObjectIsRefused) {
    EXPECT_FALSE(parses(R"({"a":1,"a":2})"));
    EXPECT_FALSE(parses(R"({"a":1,"\u0061":2})")) << "an escaped name could be the same one";
    EXPECT_TRUE(parses(R"({"a":{"a":1},"b":{"a":2}})"));
}

TEST(Json, WhatFollowsTheValueIsRefused) {
    EXPECT_FALSE(parses("{} x"));
    EXPECT_FALSE(parses("1 2"));
    EXPECT_TRUE(parses("{} \n"));
}

TEST(Json, MalformedTextIsRefused) {
    for (const char* text :
         {"",    "{", "[",  "[1", "[1,", "{\"a\"", "{\"a\":",    "{\"a\":1", "{a:1}", "\"a", "\"\\",
          "tru", "-", "01", "1.", "1e",  "[1,]",   "{\"a\":1,}", "\"\n\"",   "+1",    ".5",  "nul"}) {
        EXPECT_FALSE(parses(text)) << text;
    }
    for (const char* text : {"-1.5e+3", "0", "true", "false", "null", "[]", "{}", "\"\\n\""}) {
        EXPECT_TRUE(parses(text)) << text;
    }
}

TEST(Json, DepthSizeAndNumberOfValuesAreBounded) {
    EXPECT_TRUE(parses(std::string(16, '[') + std::string(16, ']')));
    EXPECT_FALSE(parses(std::string(17, '[') + "1" + std::string(17, ']')));
    EXPECT_FALSE(parses(std::string(std::size_t{64} << 20, '[')));
    std::string many = "[0";
    for (int i = 0; i < 40'000; ++i) many += ",0";
    EXPECT_FALSE(parses(many + "]"));
}

TEST(Json, EscapesOfStringsAreUndone) {
    const auto document = JsonDocument::parse(R"(["a\n\"\\\/b", "\u0041", "\x"])");
    ASSERT_TRUE(document.has_value());
    const auto elements = document->root().elements();
    EXPECT_EQ(*elements->at(0).string(), "a\n\"\\/b");
    EXPECT_FALSE(elements->at(1).string().has_value());
    EXPECT_FALSE(elements->at(2).string().has_value());
}

TEST(Json, NumbersAreWholeAndOf64Bits) {
    const auto document = JsonDocument::parse("[18446744073709551615, 18446744073709551616, -1, 1.0, 1e2]");
    ASSERT_TRUE(document.has_value());
    const auto elements = document->root().elements();
    EXPECT_EQ(*elements->at(0).number(), 18446744073709551615U);
    for (std::size_t i = 1; i < 5; ++i) EXPECT_FALSE(elements->at(i).number().has_value()) << i;
}

TEST(Encoding, HexadecimalHasPairsOfDigits) {
    EXPECT_EQ(bytes_of_hex("00fF")->at(1), std::byte{0xff});
    EXPECT_FALSE(bytes_of_hex("0").has_value());
    EXPECT_FALSE(bytes_of_hex("0g").has_value());
}

TEST(Encoding, Base64OfEitherAlphabetHasOneSpelling) {
    EXPECT_EQ(text_of(*bytes_of_base64("aGk=")), "hi");
    EXPECT_EQ(text_of(*bytes_of_base64("aGk")), "hi");
    EXPECT_EQ(*bytes_of_base64("-_8"), *bytes_of_base64("+/8="));
    EXPECT_FALSE(bytes_of_base64("aGl").has_value()) << "bits that belong to no byte";
    EXPECT_FALSE(bytes_of_base64("a").has_value());
    EXPECT_FALSE(bytes_of_base64("aG=k").has_value());
    EXPECT_FALSE(bytes_of_base64("a!").has_value());
}

TEST(Encoding, TimesAreUtcAndExist) {
    EXPECT_EQ(*time_of_text("1970-01-01T00:00:01Z"), 1);
    EXPECT_EQ(*time_of_text("2025-06-19T10:16:03Z"), 1'750'328'163);
    for (const char* text : {"2025-06-19T10:16:03", "2025-02-29T00:00:00Z", "2025-06-19 10:16:03Z",
                             "2025-06-19T24:00:00Z", "2025-06-19T10:16:0xZ", "2025-13-01T00:00:00Z"}) {
        EXPECT_FALSE(time_of_text(text).has_value()) << text;
    }
}

}  // namespace
}  // namespace holdfast::attest
