// SPDX-License-Identifier: Apache-2.0
#include "iommu/domain.hpp"

#include <algorithm>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/iommu/fake_space.hpp"

namespace holdfast::iommu {
namespace {

constexpr std::uint64_t kRam = 64ULL << 20;

Mapping mapping(std::uint64_t start, std::uint64_t size, std::uint64_t target,
                Access access = Access::ReadWrite) {
    return {.start = Iova{start},
            .size = size,
            .target = GuestAddr{target},
            .granted_at = 1,
            .rule = 1,
            .access = access};
}
IovaRange range(std::uint64_t start, std::uint64_t size) { return {Iova{start}, Iova{start + size - 1}}; }

class DomainTest : public testing::Test {
protected:
    DomainTest() {
        EXPECT_TRUE(domain.attach(one));
        EXPECT_TRUE(domain.attach(two));
    }
    void expect_refused(const Mapping& wanted, Refusal why) {
        const Usage before = domain.usage();
        const auto outcome = domain.map(wanted);
        ASSERT_FALSE(outcome);
        EXPECT_EQ(refusal_name(outcome.error()), refusal_name(why));
        EXPECT_EQ(domain.usage().bytes, before.bytes);
        EXPECT_EQ(one.entries_.size(), before.mappings);
        EXPECT_EQ(two.entries_.size(), before.mappings);
        EXPECT_EQ(std::ranges::count_if(pages.exposed_, [](int n) { return n != 0; }),
                  static_cast<std::ptrdiff_t>(before.bytes / kPageSize));
    }
    FakePages pages{kRam};
    FakeSpace one;
    FakeSpace two;
    Domain domain{{.max_mappings = 4, .max_bytes = 1 << 20}, pages};
};

TEST_F(DomainTest, GrantIsInEachSpaceAndCounted) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x3000, 0x5000, Access::Read)));

    const FakeSpace::Entry expected{pages.locate(GuestAddr{0x5000}, 1)->data(), 0x3000, Access::Read};
    EXPECT_EQ(one.entries_.at(0x10000), expected);
    EXPECT_EQ(two.entries_.at(0x10000), expected);
    EXPECT_EQ(domain.usage().bytes, 0x3000);
    EXPECT_EQ(pages.exposed_[5], 1);
    EXPECT_EQ(pages.exposed_[8], 0);
}

TEST_F(DomainTest, WhatCannotBeGrantedIsRefusedAndChangesNothing) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x2000, 0)));

    expect_refused(mapping(0x20000, 0, 0), Refusal::Misaligned);
    expect_refused(mapping(0x20000, 0x1001, 0), Refusal::Misaligned);
    expect_refused(mapping(0x20800, 0x1000, 0), Refusal::Misaligned);
    expect_refused(mapping(0x20000, 0x1000, 0x10), Refusal::Misaligned);
    expect_refused(mapping(~0ULL - 0xfff, 0x2000, 0), Refusal::OutOfRange);
    expect_refused(mapping((1ULL << 48) - 0x1000, 0x2000, 0), Refusal::OutOfRange);
    expect_refused(mapping(0xfee00000, 0x1000, 0), Refusal::Reserved);
    expect_refused(mapping(0xfedff000, 0x2000, 0), Refusal::Reserved);
    expect_refused(mapping(0xfeeff000, 0x2000, 0), Refusal::Reserved);
    expect_refused(mapping(0x11000, 0x1000, 0), Refusal::Overlap);
    expect_refused(mapping(0xf000, 0x2000, 0), Refusal::Overlap);
    expect_refused(mapping(0x20000, 0x1000, kRam), Refusal::NotMemory);
    expect_refused(mapping(0x20000, 0x2000, kRam - 0x1000), Refusal::NotMemory);
    expect_refused(mapping(0x20000, 0x1000, ~0ULL - 0xfff), Refusal::NotMemory);
}

TEST_F(DomainTest, CapsHoldExactly) {
    expect_refused(mapping(0, (1 << 20) + 0x1000, 0), Refusal::TooManyBytes);
    ASSERT_TRUE(domain.map(mapping(0, 1 << 20, 0)));
    expect_refused(mapping(1 << 20, 0x1000, 1 << 20), Refusal::TooManyBytes);
    ASSERT_TRUE(domain.revoke_all());
    for (std::uint64_t i = 0; i < 4; ++i) ASSERT_TRUE(domain.map(mapping(i << 12, 0x1000, i << 12)));
    expect_refused(mapping(4 << 12, 0x1000, 4 << 12), Refusal::TooManyMappings);
}

TEST_F(DomainTest, AddressesThatOneHostSpaceCannotMapAreRefused) {
    two.usable_ = {{Iova{0}, Iova{0xffff}}};

    expect_refused(mapping(0xf000, 0x2000, 0), Refusal::OutOfRange);
    EXPECT_TRUE(domain.map(mapping(0xf000, 0x1000, 0)));
}

TEST_F(DomainTest, UnmapTakesWholeMappingsAndNeverSplits) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x4000, 0)));
    ASSERT_TRUE(domain.map(mapping(0x20000, 0x1000, 0x8000)));

    for (const IovaRange splits :
         {range(0x10000, 0x1000), range(0x11000, 0x1000), range(0x13000, 0x10000), range(0, 0x11000)}) {
        EXPECT_EQ(domain.unmap(splits), std::unexpected{Refusal::WouldSplit});
    }
    EXPECT_EQ(domain.usage().mappings, 2);
    EXPECT_EQ(one.entries_.size(), 2);
    EXPECT_EQ(domain.unmap(range(0x14000, 0x1000)), 0);
    EXPECT_EQ(domain.unmap(range(0x1000, 0x100000)), 2);
    EXPECT_TRUE(one.entries_.empty());
    EXPECT_EQ(std::ranges::count(pages.exposed_, 0), static_cast<std::ptrdiff_t>(pages.exposed_.size()));
}

TEST_F(DomainTest, HalfDoneMapIsRolledBack) {
    two.fail_map_in_ = 1;
    expect_refused(mapping(0x10000, 0x1000, 0), Refusal::HostRefused);
    pages.fail_expose_ = true;
    expect_refused(mapping(0x10000, 0x1000, 0), Refusal::HostRefused);
    pages.fail_expose_ = false;
    EXPECT_TRUE(domain.map(mapping(0x10000, 0x1000, 0)));
}

TEST_F(DomainTest, RollBackThatFailsIsLostAndThePagesStayCounted) {
    two.fail_map_in_ = 1;
    one.fail_unmap_in_ = 1;

    EXPECT_EQ(domain.map(mapping(0x10000, 0x1000, 0x3000)), std::unexpected{Refusal::Lost});
    EXPECT_TRUE(domain.lost());
    EXPECT_EQ(pages.exposed_[3], 1);
    EXPECT_EQ(domain.map(mapping(0x20000, 0x1000, 0)), std::unexpected{Refusal::Lost});
}

TEST_F(DomainTest, UnmapThatTheHostDidNotDoIsLostAndThePagesStayCounted) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x1000, 0x3000)));
    two.entries_.clear();  // it will say "0 bytes"

    EXPECT_EQ(domain.unmap(range(0x10000, 0x1000)), std::unexpected{Refusal::Lost});
    EXPECT_EQ(pages.exposed_[3], 1);
}

TEST_F(DomainTest, SpaceThatIsAttachedLaterGetsAllAndLosesAllWhenDetached) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x1000, 0x3000)));
    FakeSpace late;
    ASSERT_TRUE(domain.attach(late));
    EXPECT_EQ(late.entries_, one.entries_);

    ASSERT_TRUE(domain.detach(late));
    EXPECT_TRUE(late.entries_.empty());
    EXPECT_EQ(one.entries_.size(), 1);
    ASSERT_TRUE(domain.map(mapping(0x20000, 0x1000, 0)));
    EXPECT_TRUE(late.entries_.empty());
}

TEST_F(DomainTest, SpaceThatCannotHaveAllGetsNothing) {
    ASSERT_TRUE(domain.map(mapping(0x10000, 0x1000, 0x3000)));
    ASSERT_TRUE(domain.map(mapping(0x20000, 0x1000, 0x3000)));
    FakeSpace late;
    late.fail_map_in_ = 2;

    EXPECT_EQ(domain.attach(late), std::unexpected{Refusal::HostRefused});
    EXPECT_TRUE(late.entries_.empty());
}

/// A list that is searched from end to end: slow, and simple enough to be believed.
struct Model {
    [[nodiscard]] std::optional<Refusal> map(const Mapping& wanted, std::uint64_t cap, std::uint64_t most) {
        if (wanted.start.value() >= 0xfee00000 - wanted.size + 1 && wanted.start.value() <= 0xfeefffff)
            return Refusal::Reserved;
        std::uint64_t bytes = 0;
        for (const Mapping& held : all) {
            if (wanted.start <= held.last() && held.start <= wanted.last()) return Refusal::Overlap;
            bytes += held.size;
        }
        if (wanted.target.value() + wanted.size > kRam) return Refusal::NotMemory;
        if (all.size() == most) return Refusal::TooManyMappings;
        if (bytes + wanted.size > cap) return Refusal::TooManyBytes;
        all.push_back(wanted);
        return std::nullopt;
    }
    [[nodiscard]] Outcome<std::uint64_t> unmap(IovaRange range) {
        for (const Mapping& held : all) {
            if (range.touches({held.start, held.last()}) && !range.contains({held.start, held.last()})) {
                return std::unexpected{Refusal::WouldSplit};
            }
        }
        return std::erase_if(all,
                             [&](const Mapping& held) { return range.contains({held.start, held.last()}); });
    }
    std::vector<Mapping> all;
};

/// Overlaps, gaps, caps, splits, the interrupt window, and hosts that refuse at random.
TEST(DomainModel, MillionRandomOperationsGiveWhatASimpleListGives) {
    std::mt19937_64 random{6};
    FakePages pages{kRam};
    FakeSpace one;
    FakeSpace two;
    constexpr std::uint64_t kMost = 40;
    constexpr std::uint64_t kCap = 1 << 20;
    Domain domain{{.max_mappings = kMost, .max_bytes = kCap}, pages};
    ASSERT_TRUE(domain.attach(one));
    ASSERT_TRUE(domain.attach(two));
    Model model;
    std::array<std::uint64_t, 11> seen{};
    for (int step = 0; step < 1'000'000; ++step) {
        const std::uint64_t start = 0xfe800000 + ((random() % 2048) << 12);
        const std::uint64_t size = (1 + random() % 12) << 12;
        if (random() % 2 == 0) {
            const Mapping wanted = mapping(start, size, (random() % (kRam / 4096 + 64)) << 12);
            two.fail_map_in_ = random() % 50 == 0 ? 1 : 0;
            const bool fails = two.fail_map_in_ != 0;
            auto expected = model.map(wanted, kCap, kMost);
            if (!expected && fails) {
                expected = Refusal::HostRefused;
                model.all.pop_back();
            }
            const auto outcome = domain.map(wanted);
            ASSERT_EQ(outcome.has_value(), !expected) << step;
            if (expected) {
                ASSERT_EQ(refusal_name(outcome.error()), refusal_name(*expected)) << step;
                ++seen.at(static_cast<std::size_t>(*expected));
            }
        } else {
            const IovaRange gone = range(start, size << (random() % 5));
            const auto expected = model.unmap(gone);
            ASSERT_EQ(domain.unmap(gone), expected) << step;
            if (!expected) ++seen.at(static_cast<std::size_t>(expected.error()));
        }
        ASSERT_EQ(domain.usage().mappings, model.all.size()) << step;
        if (step % 64 != 0) continue;
        std::map<std::uint64_t, FakeSpace::Entry> entries;
        std::vector<int> exposed(pages.exposed_.size());
        for (const Mapping& held : model.all) {
            entries[held.start.value()] = {pages.locate(held.target, held.size)->data(), held.size,
                                           held.access};
            for (std::uint64_t i = 0; i < held.size / 4096; ++i) ++exposed[held.target.value() / 4096 + i];
        }
        ASSERT_EQ(one.entries_, entries) << step;
        ASSERT_EQ(two.entries_, entries) << step;
        ASSERT_EQ(pages.exposed_, exposed) << step;
    }
    for (const Refusal refusal : {Refusal::Reserved, Refusal::Overlap, Refusal::NotMemory,
                                  Refusal::TooManyBytes, Refusal::WouldSplit, Refusal::HostRefused}) {
        EXPECT_GT(seen.at(static_cast<std::size_t>(refusal)), 100) << refusal_name(refusal);
    }
    ASSERT_TRUE(domain.revoke_all());
    EXPECT_TRUE(one.entries_.empty());
}

}  // namespace
}  // namespace holdfast::iommu
