// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/streams.hpp"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::memcrypt::software {
namespace {

/// Plays a guest that touches `steps` pages from `start` on, `stride` apart, where each fault brings in what
/// is advised. Returns the number of faults.
int faults_of_walk(Streams& streams, std::int64_t start, std::int32_t stride, int steps) {
    int faults = 0;
    std::int64_t brought = 0;  // steps that are in already
    for (int step = 0; step < steps; ++step) {
        if (step < brought) continue;
        const auto advice = streams.on_fault(static_cast<std::uint32_t>(start + std::int64_t{step} * stride));
        ++faults;
        brought = step + 1;
        if (advice.count > 0) {
            EXPECT_EQ(advice.stride, stride);
            brought += advice.count;
        }
    }
    return faults;
}

TEST(StreamsTest, WalkIsOpenedAheadFartherAndFarther) {
    Streams streams{128};
    EXPECT_LT(faults_of_walk(streams, 1000, 1, 1000), 16);
}

TEST(StreamsTest, WalksDownAndInStridesAreSeenToo) {
    for (const std::int32_t stride : {-1, 2, -7, 16}) {
        Streams streams{64};
        EXPECT_LT(faults_of_walk(streams, 100'000, stride, 1000), 30) << stride;
    }
}

TEST(StreamsTest, WalkIsSeenThoughOthersOpenPagesOnItsWay) {
    constexpr std::uint32_t kCluster = 16;  // all of it comes with its first page, but for one
    for (const std::int32_t direction : {1, -1}) {
        Streams streams{128};
        std::vector<bool> open(4000);
        int faults = 0;
        for (std::uint32_t step = 0; step < open.size(); ++step) {
            const auto at = [&](std::uint32_t of) { return direction > 0 ? of : 10'000 - of; };
            if (open[step]) continue;
            ++faults;
            open[step] = true;
            const auto advice = streams.on_fault(at(step));
            for (std::uint32_t next = step + 1;
                 next < std::min<std::size_t>(step + 1 + advice.count, open.size()); ++next)
                open[next] = true;
            const std::uint32_t end = step / kCluster * kCluster + kCluster;
            for (std::uint32_t other = step + 1; advice.count == 0 && other < end; ++other)
                open[other] = other % 5 != 0;
            std::uint32_t beyond = 0;
            while (step + 1 + beyond < open.size() && open[step + 1 + beyond]) ++beyond;
            if (advice.count == 0)
                streams.open_beside(direction > 0 ? 0 : beyond, direction > 0 ? beyond : 0);
        }
        EXPECT_LT(faults, 50) << direction;
    }
}

TEST(StreamsTest, NeverAdvisesMoreThanItMay) {
    Streams streams{10};
    for (std::uint32_t page = 0; page < 1000;) {
        const auto advice = streams.on_fault(page);
        ASSERT_LE(advice.count, 10U);
        page += 1 + advice.count;
    }
}

TEST(StreamsTest, WalksThatTakeTurnsAreToldApart) {
    Streams streams{32};
    int advised = 0;
    std::array<std::uint32_t, 4> at{0, 100'000, 200'000, 300'000};
    for (int turn = 0; turn < 20; ++turn) {
        for (std::uint32_t& page : at) {
            const auto advice = streams.on_fault(page);
            advised += advice.count > 0 ? 1 : 0;
            page += 1 + advice.count;
        }
    }
    EXPECT_GT(advised, 60);
}

TEST(StreamsTest, RandomTouchesOpenNextToNothingAhead) {
    Streams streams{128};
    std::mt19937 random{7};
    std::uint32_t ahead = 0;
    for (int i = 0; i < 10'000; ++i) ahead += streams.on_fault(random() % 65'536).count;
    EXPECT_LT(ahead, 200U);
}

TEST(StreamsTest, ProofIsWhatTheWalkHasPassed) {
    Streams streams{4};
    std::uint32_t opened = 0;
    std::uint32_t proved = 0;
    std::uint32_t last = 0;
    for (std::uint32_t page = 0; page < 500; page += 1 + last) {
        const auto advice = streams.on_fault(page);
        proved += advice.proved;
        EXPECT_EQ(proved, opened);  // all that was opened before this fault
        opened += advice.count;
        last = advice.count;
    }
    EXPECT_GT(proved, 300U);
}

}  // namespace
}  // namespace holdfast::memcrypt::software
