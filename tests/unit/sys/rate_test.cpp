// SPDX-License-Identifier: Apache-2.0
#include "sys/rate.hpp"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

using namespace std::chrono_literals;
constexpr TokenBucket::Clock::time_point kStart{1h};

TEST(TokenBucket, GivesTheBurstAndThenTheRate) {
    TokenBucket bucket{100, 10, kStart};
    EXPECT_EQ(bucket.take(50, kStart), 10U);
    EXPECT_EQ(bucket.take(1, kStart), 0U);
    EXPECT_EQ(bucket.take(50, kStart + 50ms), 5U);
}

TEST(TokenBucket, NeverSavesMoreThanTheBurst) {
    TokenBucket bucket{100, 10, kStart};
    EXPECT_EQ(bucket.take(50, kStart + 100h), 10U);
}

TEST(TokenBucket, ManyShortWaitsAddUpToALongOne) {
    TokenBucket bucket{1000, 10, kStart};
    ASSERT_EQ(bucket.take(10, kStart), 10U);
    std::uint64_t taken = 0;
    for (auto now = kStart; now <= kStart + 5ms; now += 100us) taken += bucket.take(1, now);
    EXPECT_EQ(taken, 5U);
}

TEST(TokenBucket, SaysWhenTheNextTokenComes) {
    TokenBucket bucket{1000, 1, kStart};
    ASSERT_EQ(bucket.take(1, kStart), 1U);
    const auto wait = bucket.wait_for(1, kStart);
    EXPECT_EQ(bucket.take(1, kStart + wait), 1U);
    EXPECT_LE(wait, 1001us);
}

}  // namespace
}  // namespace holdfast
