// SPDX-License-Identifier: Apache-2.0
#include "iommu/interval_map.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace holdfast::iommu {
namespace {

Mapping mapping(std::uint64_t start, std::uint64_t size) {
    return {.start = Iova{start},
            .size = size,
            .target = GuestAddr{start ^ 0xabc000},
            .granted_at = start / 7 % (1ULL << 43),
            .rule = static_cast<std::uint32_t>(start >> 12) % (1U << 20),
            .access = start & 1 ? Access::Read : Access::ReadWrite};
}

TEST(IntervalMap, EmptyHasNothing) {
    const IntervalMap map;

    EXPECT_EQ(map.find(Iova{0}), std::nullopt);
    EXPECT_EQ(map.starting_from(Iova{0}), std::nullopt);
    EXPECT_FALSE(map.overlaps({Iova{0}, Iova{~0ULL}}));
}

TEST(IntervalMap, BoundsOfAMappingAreItsFirstAndLastByte) {
    IntervalMap map;
    map.insert(mapping(0x1000, 0x2000));

    EXPECT_EQ(map.find(Iova{0xfff}), std::nullopt);
    EXPECT_EQ(map.find(Iova{0x1000}), mapping(0x1000, 0x2000));
    EXPECT_EQ(map.find(Iova{0x2fff}), mapping(0x1000, 0x2000));
    EXPECT_EQ(map.find(Iova{0x3000}), std::nullopt);
    EXPECT_TRUE(map.overlaps({Iova{0}, Iova{0x1000}}));
    EXPECT_FALSE(map.overlaps({Iova{0}, Iova{0xfff}}));
    EXPECT_FALSE(map.overlaps({Iova{0x3000}, Iova{~0ULL}}));
    EXPECT_EQ(map.first_in({Iova{0}, Iova{0x1000}}), mapping(0x1000, 0x2000));
    EXPECT_EQ(map.first_in({Iova{0x2fff}, Iova{0x2fff}}), mapping(0x1000, 0x2000));
    EXPECT_EQ(map.first_in({Iova{0}, Iova{0xfff}}), std::nullopt);
    EXPECT_EQ(map.first_in({Iova{0x3000}, Iova{~0ULL}}), std::nullopt);
}

TEST(IntervalMap, MappingMayEndWithTheAddressSpace) {
    IntervalMap map;
    map.insert(mapping(~0ULL - 0xfff, 0x1000));

    EXPECT_EQ(map.find(Iova{~0ULL}), mapping(~0ULL - 0xfff, 0x1000));
    EXPECT_TRUE(map.erase(Iova{~0ULL - 0xfff}));
    EXPECT_EQ(map.size(), 0);
}

TEST(IntervalMap, OnlyAnExactStartErases) {
    IntervalMap map;
    map.insert(mapping(0x1000, 0x2000));

    EXPECT_FALSE(map.erase(Iova{0x2000}));
    EXPECT_FALSE(map.erase(Iova{0x0}));
    EXPECT_TRUE(map.erase(Iova{0x1000}));
}

/// std::map with the same questions.
class Reference {
public:
    [[nodiscard]] std::optional<Mapping> find(Iova at) const {
        auto next = map_.upper_bound(at.value());
        if (next == map_.begin() || std::prev(next)->second.last() < at) return std::nullopt;
        return std::prev(next)->second;
    }
    [[nodiscard]] std::optional<Mapping> starting_from(Iova at) const {
        const auto next = map_.lower_bound(at.value());
        return next == map_.end() ? std::nullopt : std::optional{next->second};
    }
    [[nodiscard]] bool overlaps(IovaRange range) const {
        const auto next = map_.upper_bound(range.last.value());
        return next != map_.begin() && std::prev(next)->second.last() >= range.first;
    }
    std::map<std::uint64_t, Mapping> map_;
};

/// Grows to many thousands and shrinks to none, several times, so that nodes split, share and join at each
/// height.
TEST(IntervalMap, MillionRandomOperationsGiveWhatStdMapGives) {
    std::mt19937_64 random{20261125};
    IntervalMap map;
    Reference reference;
    const std::uint64_t space = 1ULL << 20;  // pages
    for (int step = 0; step < 1'200'000; ++step) {
        const bool growing = step / 100'000 % 2 == 0;
        const Iova at{(random() % space) << 12};
        const std::uint64_t size = (1 + random() % 8) << 12;
        const IovaRange range{at, Iova{at.value() + size - 1}};
        ASSERT_EQ(map.overlaps(range), reference.overlaps(range)) << step;
        if (random() % 8 < (growing ? 7 : 1)) {
            if (reference.overlaps(range)) continue;
            map.insert(mapping(at.value(), size));
            reference.map_.emplace(at.value(), mapping(at.value(), size));
        } else if (const auto next = reference.starting_from(at)) {
            ASSERT_TRUE(map.erase(next->start)) << step;
            reference.map_.erase(next->start.value());
        }
        ASSERT_EQ(map.size(), reference.map_.size());
        ASSERT_EQ(map.find(at), reference.find(at)) << step;
        ASSERT_EQ(map.starting_from(at), reference.starting_from(at)) << step;
    }
    while (const auto next = map.starting_from(Iova{0})) {
        ASSERT_EQ(next, reference.starting_from(Iova{0}));
        ASSERT_TRUE(map.erase(next->start));
        reference.map_.erase(next->start.value());
    }
    EXPECT_TRUE(reference.map_.empty());
}

TEST(IntervalMap, AMillionMappingsTakeAtMost96BytesEach) {
    for (const bool descending : {false, true}) {
        IntervalMap map;
        for (std::uint64_t i = 0; i < 1'000'000; ++i)
            map.insert(mapping((descending ? 1'000'000 - i : i) << 13, 4096));
        EXPECT_LE(map.memory_bytes(), 96 * map.size());
    }
    std::mt19937_64 random{1};
    IntervalMap map;
    while (map.size() < 1'000'000) {
        const std::uint64_t at = (random() & 0xffffffff) << 12;
        if (!map.find(Iova{at})) map.insert(mapping(at, 4096));
    }
    EXPECT_LE(map.memory_bytes(), 96 * map.size());
    // And after most of them went, in an order that leaves gaps.
    while (map.size() > 100'000) {
        const auto next = map.starting_from(Iova{(random() & 0xffffffff) << 12});
        if (next) map.erase(next->start);
    }
    EXPECT_LE(map.memory_bytes(), 96 * map.size());
}

}  // namespace
}  // namespace holdfast::iommu
