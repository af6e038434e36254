// SPDX-License-Identifier: Apache-2.0
// What devices reach leaves the encrypted set: on the real pager.
#include "vmm/vfio/pages.hpp"

#include <array>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "memcrypt/software/pager.hpp"

namespace holdfast::vfio {
namespace {

class PagesTest : public testing::Test {
protected:
    static constexpr std::uint64_t kHigh = 1ULL << 32;
    static constexpr std::uint64_t kRegion = 2ULL << 20;

    void SetUp() override {
        const UniqueFd device{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)};
        if (!device) GTEST_SKIP() << "skip: no /dev/userfaultfd";
        const std::array<memcrypt::GuestMemory::Range, 2> ranges{
            {{GuestAddr{0}, kRegion}, {GuestAddr{kHigh}, kRegion}}};
        auto made = memcrypt::GuestMemory::create_software(
            ranges, device, {}, {},
            {.window_bytes = 64 * kPageSize, .seal_after = std::chrono::milliseconds{0}});
        ASSERT_TRUE(made.has_value()) << made.error().what;
        memory.emplace(std::move(*made));
        memory->report_loss_to({.tampered = [](GuestAddr) { ADD_FAILURE(); },
                                .failed = [](const Error& error) { ADD_FAILURE() << error.what; }});
        pages.emplace(*memory, [](const Error& error) { ADD_FAILURE() << error.what; });
    }
    [[nodiscard]] std::uint64_t exempt() const { return memory->statistics()->exempt; }
    void fill(std::uint64_t at, std::uint64_t size, std::uint8_t value) const {
        const std::vector<std::byte> bytes(size, std::byte{value});
        ASSERT_TRUE(memory->write(GuestAddr{at}, bytes).has_value());
    }
    [[nodiscard]] bool holds(std::uint64_t at, std::uint64_t size, std::uint8_t value) const {
        std::vector<std::byte> bytes(size);
        return memory->read(GuestAddr{at}, bytes).has_value() &&
               std::ranges::all_of(bytes, [value](std::byte byte) { return byte == std::byte{value}; });
    }
    std::optional<memcrypt::GuestMemory> memory;
    std::optional<Pages> pages;
};

TEST_F(PagesTest, ExposedPagesAreExemptUntilTheLastGrantOfThemIsGone) {
    constexpr std::uint64_t kPages = 100;  // more than the clear window has
    fill(0, kPages * kPageSize, 0x5a);
    ASSERT_TRUE(pages->expose(GuestAddr{0}, kPages * kPageSize).has_value());
    EXPECT_EQ(exempt(), kPages);
    ASSERT_TRUE(pages->expose(GuestAddr{kPageSize * 10}, 20 * kPageSize).has_value());
    EXPECT_EQ(exempt(), kPages);
    pages->conceal(GuestAddr{0}, kPages * kPageSize);
    EXPECT_EQ(exempt(), 20U);
    ASSERT_TRUE(memory->seal_all().has_value());
    EXPECT_EQ(exempt(), 20U);
    EXPECT_EQ(memory->statistics()->clear, 0U);
    pages->conceal(GuestAddr{kPageSize * 10}, 20 * kPageSize);
    EXPECT_EQ(exempt(), 0U);
    EXPECT_TRUE(holds(0, kPages * kPageSize, 0x5a));
}

TEST_F(PagesTest, OtherRegionsPagesAreTheirOwn) {
    fill(kHigh, 4 * kPageSize, 0x11);
    fill(0, 4 * kPageSize, 0x22);
    ASSERT_TRUE(pages->expose(GuestAddr{kHigh + kPageSize}, kPageSize).has_value());
    ASSERT_TRUE(memory->seal_all().has_value());
    const auto host = pages->locate(GuestAddr{kHigh + kPageSize}, kPageSize);
    ASSERT_TRUE(host.has_value());
    // What a device would find, and does to it: no fault happens, the page is there.
    EXPECT_EQ((*host)[17], std::byte{0x11});
    (*host)[17] = std::byte{0x33};
    pages->conceal(GuestAddr{kHigh + kPageSize}, kPageSize);
    EXPECT_TRUE(holds(kHigh + kPageSize + 17, 1, 0x33));
    EXPECT_TRUE(holds(0, 4 * kPageSize, 0x22));
}

// threat_model.md, D-1: no BAR of another device, and nothing of this process.
TEST_F(PagesTest, OnlyRamIsLocated) {
    EXPECT_TRUE(pages->locate(GuestAddr{0}, kRegion).has_value());
    EXPECT_FALSE(pages->locate(GuestAddr{0}, kRegion + kPageSize).has_value());
    EXPECT_FALSE(pages->locate(GuestAddr{0xc0000000}, kPageSize).has_value());
    EXPECT_FALSE(pages->locate(GuestAddr{kRegion}, kPageSize).has_value());
    EXPECT_FALSE(pages->locate(GuestAddr{~0ULL - 0xfff}, 2 * kPageSize).has_value());
}

}  // namespace
}  // namespace holdfast::vfio
