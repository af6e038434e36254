// SPDX-License-Identifier: Apache-2.0
#include "vtpm/store/slots.hpp"

#include <cstdlib>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/unit/vtpm/store/power_disk.hpp"

namespace holdfast::vtpm::store {
namespace {

const Identified kOwner{.identity = {.id = {std::byte{1}, std::byte{2}}, .name = "box"},
                        .created = 1'700'000'000};

std::vector<std::byte> blob_of(std::uint64_t version) {
    // Several sectors, of a length and content that say the version.
    std::vector<std::byte> blob(1500 + version % 700);
    for (std::size_t i = 0; i < blob.size(); ++i) blob[i] = static_cast<std::byte>(i * 31 + version * 7);
    return blob;
}

bool is_blob(std::span<const std::byte> blob, std::uint64_t version) {
    return std::ranges::equal(blob, blob_of(version));
}

struct SlotsTest : testing::Test {
    PowerDisk disk;
    void SetUp() override { ASSERT_TRUE(format(disk, kOwner)); }
    void store_up_to(std::uint64_t version) {
        auto slots = Slots::open(disk);
        ASSERT_TRUE(slots);
        while (slots->version() < version) {
            ASSERT_TRUE(slots->write(blob_of(slots->version() + 1)));
            ASSERT_TRUE(slots->mark());
        }
    }
    std::uint64_t slot_offset(std::uint64_t version) { return kSlotsOffset + version % kSlots * kSlotBytes; }
};

TEST_F(SlotsTest, FreshFileSaysWhoseItIsAndIsEmpty) {
    const auto owner = identify(disk);
    ASSERT_TRUE(owner);
    EXPECT_EQ(owner->identity.name, "box");
    EXPECT_EQ(owner->identity.id, kOwner.identity.id);
    EXPECT_EQ(owner->created, kOwner.created);
    const auto slots = Slots::open(disk);
    ASSERT_TRUE(slots);
    EXPECT_EQ(slots->version(), 0U);
    EXPECT_EQ(disk.bytes().size(), kFileBytes);
}

TEST_F(SlotsTest, NewestVersionIsFoundAgain) {
    for (const std::uint64_t version : {1U, 2U, 3U, 10U}) {
        store_up_to(version);
        const auto slots = Slots::open(disk);
        ASSERT_TRUE(slots);
        EXPECT_EQ(slots->version(), version);
        EXPECT_TRUE(is_blob(slots->blob(), version));
    }
}

TEST_F(SlotsTest, VersionThatNeverWasGivesWayToTheOneBefore) {
    store_up_to(7);
    auto slots = Slots::open(disk);
    ASSERT_TRUE(slots);
    const auto before = disk.bytes();
    ASSERT_TRUE(slots->go_back());
    EXPECT_EQ(slots->version(), 6U);
    EXPECT_TRUE(is_blob(slots->blob(), 6));
    EXPECT_EQ(disk.bytes(), before);
    EXPECT_FALSE(slots->go_back()) << "there are two slots";
    ASSERT_TRUE(slots->write(blob_of(70)));
    const auto again = Slots::open(disk);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->version(), 7U);
    EXPECT_TRUE(is_blob(again->blob(), 70));
}

TEST_F(SlotsTest, BlobOfTheLargestSizeFitsAndOneByteMoreDoesNot) {
    auto slots = Slots::open(disk);
    ASSERT_TRUE(slots);
    const std::vector<std::byte> most(kMaxBlob, std::byte{7});
    EXPECT_TRUE(slots->write(most));
    EXPECT_FALSE(slots->write(std::vector<std::byte>(kMaxBlob + 1)));
    EXPECT_TRUE(slots->write(most));
    EXPECT_EQ(disk.bytes().size(), kFileBytes);
}

// The mark is written lazily; it may be behind, and then it vouches for less.
TEST_F(SlotsTest, MarkThatWasLostCostsNothing) {
    store_up_to(4);
    auto slots = Slots::open(disk);
    ASSERT_TRUE(slots->write(blob_of(5)));
    const auto again = Slots::open(disk);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->version(), 5U);
}

TEST_F(SlotsTest, DamageInTheNewestStateIsRefusedAndNotAnsweredWithTheOneBefore) {
    store_up_to(6);
    const std::size_t length = 24 + blob_of(6).size();
    for (std::size_t i = 0; i < length; ++i) {
        std::byte& victim = disk.bytes()[slot_offset(6) + i];
        victim ^= std::byte{0x10};
        const auto slots = Slots::open(disk);
        ASSERT_FALSE(slots) << "byte " << i;
        EXPECT_EQ(slots.error().fault, Fault::Input);
        victim ^= std::byte{0x10};
    }
    EXPECT_TRUE(Slots::open(disk));
}

TEST_F(SlotsTest, DamageInTheOlderStateDoesNotMatter) {
    store_up_to(6);
    disk.bytes()[slot_offset(5) + 100] ^= std::byte{1};
    const auto slots = Slots::open(disk);
    ASSERT_TRUE(slots);
    EXPECT_EQ(slots->version(), 6U);
}

TEST_F(SlotsTest, DamagedHeadIsRefused) {
    store_up_to(2);
    for (std::size_t i = 0; i < 81; ++i) {
        disk.bytes()[i] ^= std::byte{0x40};
        EXPECT_FALSE(Slots::open(disk)) << "byte " << i;
        disk.bytes()[i] ^= std::byte{0x40};
    }
}

TEST_F(SlotsTest, FileThatIsTooShortOrTooLongIsRefused) {
    store_up_to(2);
    for (const std::size_t size :
         {std::size_t{0}, std::size_t{1}, std::size_t{4096}, kFileBytes - 1, kFileBytes + 1}) {
        disk.bytes().resize(size);
        EXPECT_FALSE(Slots::open(disk)) << size;
    }
}

// The heart of it: whenever power goes, a restart finds the state before or after, whole, and never
// one before an answer.
TEST_F(SlotsTest, PowerCutAtAnyStepLeavesTheStateBeforeOrAfter) {
    const char* const longer = std::getenv("HOLDFAST_LONG");
    const int rounds = longer != nullptr && std::string_view{longer} == "1" ? 20000 : 1500;
    std::mt19937_64 random{20261125};
    std::uint64_t answered = 0;
    for (int round = 0; round < rounds; ++round) {
        disk.cut_after(std::uniform_int_distribution<int>{0, 11}(random));
        auto slots = Slots::open(disk);
        ASSERT_TRUE(slots) << slots.error().what;
        std::uint64_t tried = slots->version();
        ASSERT_TRUE(tried >= answered && tried <= answered + 1);
        answered = tried;
        while (true) {
            if (!slots->write(blob_of(tried + 1))) {
                ++tried;
                break;
            }
            answered = ++tried;
            if (!slots->mark()) break;
        }
        disk.restart(random);
        const auto found = Slots::open(disk);
        ASSERT_TRUE(found) << "round " << round << ": " << found.error().what;
        ASSERT_GE(found->version(), answered) << "round " << round;
        ASSERT_LE(found->version(), tried);
        ASSERT_TRUE(found->version() == 0 || is_blob(found->blob(), found->version())) << "round " << round;
    }
}

}  // namespace
}  // namespace holdfast::vtpm::store
