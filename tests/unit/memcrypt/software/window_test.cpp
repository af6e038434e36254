// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/window.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::memcrypt::software {
namespace {

class WindowTest : public testing::Test {
protected:
    static constexpr std::uint32_t kPages = 4096;
    static constexpr std::uint32_t kCapacity = 256;

    /// What the pager does when a page that is not clear is touched.
    void bring_in(std::uint32_t page) {
        while (!window.reserve(1)) make_room();
        pages.set_state(page, PageState::Opening);
        window.admit(page);
    }
    /// And when a clear one is touched: nothing where it is mapped, a fault where it is in grace.
    void touch(std::uint32_t page) {
        switch (pages.state(page)) {
            case PageState::ClearMapped: return;
            case PageState::ClearGrace:
                pages.set_state(page, PageState::Opening);
                window.touched(page);
                ++grace_faults;
                return;
            default: ++misses; return bring_in(page);
        }
    }
    void make_room() {
        std::array<std::uint32_t, 16> batch;
        for (const std::uint32_t page : std::span{batch}.first(window.pick_unmap(batch))) {
            EXPECT_EQ(pages.state(page), PageState::Evicting);
            window.unmapped(page);
        }
        const auto victims = std::span{batch}.first(window.pick_victims(batch));
        ASSERT_FALSE(victims.empty());
        for (const std::uint32_t page : victims) {
            EXPECT_EQ(pages.state(page), PageState::Evicting);
            window.evicted(page, PageState::Sealed);
        }
    }
    [[nodiscard]] std::uint32_t clear() const {
        return pages.count(PageState::ClearMapped) + pages.count(PageState::ClearGrace);
    }

    PageTable pages = PageTable::create(kPages).value();
    Window window{pages, kCapacity};
    int misses = 0;
    int grace_faults = 0;
};

TEST_F(WindowTest, NoMoreIsReservedThanThereIs) {
    EXPECT_TRUE(window.reserve(kCapacity));
    EXPECT_FALSE(window.reserve(1));
    window.release(1);
    EXPECT_TRUE(window.reserve(1));
}

TEST_F(WindowTest, ClearPagesAreCountedByTheWindowAndBounded) {
    for (std::uint32_t i = 0; i < 20'000; ++i) {
        touch(i * 2654435761U % kPages);
        ASSERT_EQ(clear(), window.used());
        ASSERT_LE(clear(), kCapacity);
    }
}

TEST_F(WindowTest, PagesInSteadyUseOutliveAScan) {
    // In use all the time: brought in twice, so that the window knows them.
    const auto use_hot = [this] {
        for (std::uint32_t page = 0; page < 100; ++page) touch(page);
    };
    for (std::uint32_t i = 0; i < 2000; ++i) {
        if (i % 50 == 0) use_hot();
        touch(200 + i);
    }
    use_hot();
    misses = 0;
    for (std::uint32_t page = 2500; page < 3500; ++page) touch(page);
    EXPECT_EQ(misses, 1000);
    misses = 0;
    use_hot();
    EXPECT_LE(misses, 5);
}

TEST_F(WindowTest, PagesInSteadyUseAreAskedLessAndLess) {
    const auto round = [this](std::uint32_t base) {
        for (std::uint32_t i = 0; i < 400; ++i) {
            for (std::uint32_t page = 0; page < 100; page += 10) touch((page + i) % 100);
            touch(base + i);
        }
    };
    for (std::uint32_t i = 0; i < 5; ++i) round(200 + i * 400);
    grace_faults = 0;
    misses = 0;
    round(3000);
    // 400 pages came in and left; the hundred in use were seldom asked.
    EXPECT_EQ(misses, 400);
    EXPECT_LE(grace_faults, 100);
}

TEST_F(WindowTest, APageThatLeftLatelyComesBackToTheMainQueue) {
    bring_in(7);
    EXPECT_EQ(pages.links(7).queue, Queue::Probation);
    for (std::uint32_t page = 100; pages.state(7) != PageState::Sealed; ++page) bring_in(page);
    bring_in(7);
    EXPECT_EQ(pages.links(7).queue, Queue::Main);
    bring_in(8);
    EXPECT_EQ(pages.links(8).queue, Queue::Probation);
}

TEST_F(WindowTest, AgeingUnmapsAPageAndSealsItWhenItIsNotTouched) {
    bring_in(7);
    EXPECT_EQ(window.age(7), Window::Look::Unmap);
    window.unmapped(7);
    EXPECT_EQ(pages.state(7), PageState::ClearGrace);
    EXPECT_EQ(window.age(7), Window::Look::Seal);
    window.evicted(7, PageState::Sealed);
    EXPECT_EQ(window.used(), 0U);
}

TEST_F(WindowTest, AgeingLeavesAPageThatWasTouched) {
    bring_in(7);
    EXPECT_EQ(window.age(7), Window::Look::Unmap);
    window.unmapped(7);
    touch(7);
    EXPECT_EQ(window.age(7), Window::Look::Unmap);
    window.unmapped(7);
    EXPECT_EQ(pages.state(7), PageState::ClearGrace);
}

TEST_F(WindowTest, AgeingLeavesAloneWhatAnotherThreadHolds) {
    EXPECT_EQ(window.age(7), Window::Look::Stays);
    for (const PageState state : {PageState::Opening, PageState::Evicting, PageState::Sealed,
                                  PageState::Exempt, PageState::Poisoned}) {
        pages.set_state(7, state);
        EXPECT_EQ(window.age(7), Window::Look::Stays) << state_name(state);
        EXPECT_EQ(pages.state(7), state);
    }
}

TEST_F(WindowTest, MetadataStaysBelowItsShareOfGuestMemory) {
    // 0.7 % of guest RAM for all of it; a byte for each cluster of 32 pages comes on top.
    EXPECT_LT(PageTable::kBytesPerPage + 1.0 / 32, 0.007 * kPageSize);
}

}  // namespace
}  // namespace holdfast::memcrypt::software
