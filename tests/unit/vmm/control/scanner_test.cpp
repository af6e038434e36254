// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/scanner.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace holdfast::control {
namespace {

using Kind = Scanner::Kind;
using Items = std::vector<std::pair<Kind, std::string>>;

Items scan(std::string_view all, std::size_t piece = 1 << 20) {
    Scanner scanner;
    Items items;
    for (std::size_t at = 0; at < all.size(); at += piece) {
        std::string_view input = all.substr(at, piece);
        while (const auto item = scanner.next(input)) items.emplace_back(item->kind, item->text);
        EXPECT_TRUE(input.empty());
    }
    return items;
}

TEST(Scanner, TextsBackToBackAreTakenApart) {
    EXPECT_EQ(scan(R"({"a":[1,2]}{} [3]"x" 12 true )"), (Items{{Kind::Text, R"({"a":[1,2]})"},
                                                               {Kind::Text, "{}"},
                                                               {Kind::Text, "[3]"},
                                                               {Kind::Text, R"("x")"},
                                                               {Kind::Text, "12"},
                                                               {Kind::Text, "true"}}));
}

TEST(Scanner, SplittingAnywhereChangesNothing) {
    const std::string_view all = "{\"a\": \"}\\\"{\", 'b' : 'it\\'s \"x\"'}\r\n[ {\"c\":{}} ]@ \n}{]12\n";
    const Items whole = scan(all);
    ASSERT_EQ(whole.size(), 6U);
    for (std::size_t piece = 1; piece < all.size(); ++piece) EXPECT_EQ(scan(all, piece), whole) << piece;
}

TEST(Scanner, BracesInStringsDoNotCount) {
    EXPECT_EQ(scan(R"({"a":"}]\"\\"})"), (Items{{Kind::Text, R"({"a":"}]\"\\"})"}}));
}

TEST(Scanner, SingleQuotesBecomeDouble) {
    EXPECT_EQ(scan(R"({'a':'b"\'\n'})"), (Items{{Kind::Text, R"({"a":"b\"'\n"})"}}));
}

TEST(Scanner, UnfinishedTextGivesNothing) { EXPECT_EQ(scan(R"({"execute": "quit")"), Items{}); }

TEST(Scanner, WordEndsOnlyWithWhatFollows) {
    EXPECT_EQ(scan("12"), Items{});
    EXPECT_EQ(scan("nul{}"), (Items{{Kind::Text, "nul"}, {Kind::Text, "{}"}}));
}

TEST(Scanner, MismatchedBracketsStartAfresh) {
    const Items items = scan("{]{}");
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[0].first, Kind::Malformed);
    EXPECT_EQ(items[1].second, "{}");
}

TEST(Scanner, LineEndInAStringStartsAfresh) {
    const Items items = scan("{\"execute\": \"qu\n{\"execute\":\"quit\"}");
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[0].first, Kind::Malformed);
    EXPECT_EQ(items[1].second, R"({"execute":"quit"})");
}

TEST(Scanner, ForeignBytesAreReportedOnceUntilSomethingStructural) {
    const Items items = scan("\xff\xfe @@@{}");
    ASSERT_EQ(items.size(), 2U);
    EXPECT_EQ(items[0].first, Kind::Malformed);
    EXPECT_EQ(items[1].second, "{}");
}

TEST(Scanner, NestingAtTheLimitPassesAndOneMoreDoesNot) {
    const std::string deep(kMaxNesting, '[');
    const std::string closed = deep + std::string(kMaxNesting, ']');
    EXPECT_EQ(scan(closed), (Items{{Kind::Text, closed}}));
    const Items items = scan(deep + "[");
    ASSERT_EQ(items.size(), 1U);
    EXPECT_EQ(items[0].first, Kind::TooDeep);
}

TEST(Scanner, LengthAtTheLimitPassesAndOneMoreDoesNot) {
    const std::string fits = "\"" + std::string(kMaxText - 2, 'x') + "\"";
    EXPECT_EQ(scan(fits), (Items{{Kind::Text, fits}}));
    const Items items = scan("\"" + std::string(kMaxText, 'x'));
    ASSERT_FALSE(items.empty());
    EXPECT_EQ(items[0].first, Kind::TooLong);
}

}  // namespace
}  // namespace holdfast::control
