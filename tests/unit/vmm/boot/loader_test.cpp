// SPDX-License-Identifier: Apache-2.0
// Which pages are chained, and that each is the one that the guest finds.
#include "vmm/boot/loader.hpp"

#include <array>

#include <gtest/gtest.h>
#include <unistd.h>

#include "vmm/boot/layout.hpp"

namespace holdfast::boot {
namespace {

class LoaderTest : public testing::Test {
protected:
    static std::span<const std::byte> bytes_of(std::string_view text) {
        return std::as_bytes(std::span{text});
    }
    Digest384 measured(const Loader& from) {
        memcrypt::LaunchDigest digest;
        EXPECT_TRUE(from.measure(digest).has_value());
        return digest.value();
    }
    /// The chain over these pages as they are in memory, one after the other.
    Digest384 chain(std::initializer_list<std::uint64_t> numbers) {
        memcrypt::LaunchDigest digest;
        for (const std::uint64_t number : numbers) add(digest, number);
        return digest.value();
    }
    void add(memcrypt::LaunchDigest& digest, std::uint64_t number) {
        std::array<std::byte, kPageSize> page;
        EXPECT_TRUE(memory.read(GuestAddr{number * kPageSize}, page).has_value());
        digest.add(memcrypt::PageType::Normal, GuestAddr{number * kPageSize}, page);
    }
    memcrypt::GuestMemory memory = memcrypt::GuestMemory::create_plain(ram_ranges(64ULL << 20)).value();
    Loader loader{memory};
};

TEST_F(LoaderTest, NothingLoadedIsTheStartOfTheChain) { EXPECT_EQ(measured(loader), Digest384{}); }

TEST_F(LoaderTest, OrderOfLoadingDoesNotCount) {
    ASSERT_TRUE(loader.write(GuestAddr{0x9000}, bytes_of("b")).has_value());
    ASSERT_TRUE(loader.write(GuestAddr{0x2000}, bytes_of("a")).has_value());
    EXPECT_EQ(measured(loader), chain({2, 9}));
}

TEST_F(LoaderTest, PageLoadedInPartsIsChainedOnceAndWhole) {
    ASSERT_TRUE(loader.write(GuestAddr{0x2ff0}, bytes_of("end")).has_value());
    ASSERT_TRUE(loader.write(GuestAddr{0x2000}, bytes_of("start")).has_value());
    ASSERT_TRUE(loader.write(GuestAddr{0x2000}, bytes_of("again")).has_value());
    EXPECT_EQ(measured(loader), chain({2}));
}

TEST_F(LoaderTest, BytesAcrossAPageBoundaryAreTwoPages) {
    ASSERT_TRUE(loader.write(GuestAddr{0x2fff}, bytes_of("ab")).has_value());
    EXPECT_EQ(measured(loader), chain({2, 3}));
}

TEST_F(LoaderTest, EmptyWritesLoadNothing) {
    ASSERT_TRUE(loader.write(GuestAddr{0x2000}, {}).has_value());
    EXPECT_EQ(measured(loader), Digest384{});
}

TEST_F(LoaderTest, WriteThatFailsLoadsNothing) {
    EXPECT_FALSE(loader.write(GuestAddr{64ULL << 20}, bytes_of("x")).has_value());
    EXPECT_EQ(measured(loader), Digest384{});
}

TEST_F(LoaderTest, LoadedZeroesAreChained) {
    ASSERT_TRUE(loader.write_value(GuestAddr{0x2000}, std::uint64_t{0}).has_value());
    EXPECT_EQ(measured(loader), chain({2}));
}

// Shares of several threads, and a last one that is not full.
TEST_F(LoaderTest, LargeFileIsChainedInOrder) {
    constexpr std::uint64_t kPages = 4 * 128 + 3;
    constexpr std::uint64_t kFirst = 0x100;
    std::vector<std::uint64_t> words(kPages * kPageSize / 8);
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = i;
    const auto bytes = std::as_bytes(std::span{words});
    const UniqueFd file = sealed_memfd("file", bytes.size()).value();
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    ASSERT_TRUE(loader.load(GuestAddr{kFirst * kPageSize}, file, 0, bytes.size()).has_value());
    memcrypt::LaunchDigest expected;
    for (std::uint64_t page = 0; page < kPages; ++page) add(expected, kFirst + page);
    EXPECT_EQ(measured(loader), expected.value());
}

}  // namespace
}  // namespace holdfast::boot
