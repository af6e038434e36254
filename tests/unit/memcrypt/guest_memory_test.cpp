// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/guest_memory.hpp"

#include <array>

#include <gtest/gtest.h>

namespace holdfast::memcrypt {
namespace {

class GuestMemoryTest : public testing::Test {
protected:
    static constexpr std::array<GuestMemory::Range, 2> kRanges{
        {{GuestAddr{0}, 4 * kPageSize}, {GuestAddr{0x100000000}, 2 * kPageSize}}};
    GuestMemory memory = GuestMemory::create_plain(kRanges).value();
};

TEST_F(GuestMemoryTest, WhatWasWrittenReadsBackInEitherRegion) {
    for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{0x100000000}, 4 * kPageSize - 8}) {
        ASSERT_TRUE(memory.write_value(GuestAddr{at}, at + 1).has_value());
        EXPECT_EQ(memory.read_value<std::uint64_t>(GuestAddr{at}).value(), at + 1);
    }
}

TEST_F(GuestMemoryTest, RangeThatLeavesItsRegionIsAGuestFault) {
    constexpr std::uint64_t kTop = ~std::uint64_t{0};
    for (const std::uint64_t at :
         {4 * kPageSize - 7, 4 * kPageSize, std::uint64_t{0xffffffff}, kTop, kTop - 7}) {
        const auto value = memory.read_value<std::uint64_t>(GuestAddr{at});
        ASSERT_FALSE(value.has_value()) << at;
        EXPECT_EQ(value.error().fault, Fault::Guest);
    }
    EXPECT_FALSE(memory.contains(GuestAddr{0}, ~0ULL));
    EXPECT_TRUE(memory.contains(GuestAddr{0}, 4 * kPageSize));
}

TEST_F(GuestMemoryTest, AddressThatWrapsAroundIsAGuestFault) {
    EXPECT_FALSE(GuestAddr{~0ULL}.plus(1).has_value());
    EXPECT_EQ(GuestAddr{~0ULL - 1}.plus(1).value().value(), ~0ULL);
}

TEST_F(GuestMemoryTest, UnalignedRingIndexIsAGuestFault) {
    EXPECT_FALSE(memory.load_acquire(GuestAddr{1}).has_value());
    EXPECT_FALSE(memory.store_release(GuestAddr{kPageSize * 4}, 1).has_value());
    ASSERT_TRUE(memory.store_release(GuestAddr{2}, 7).has_value());
    EXPECT_EQ(memory.load_acquire(GuestAddr{2}).value(), 7);
}

}  // namespace
}  // namespace holdfast::memcrypt
