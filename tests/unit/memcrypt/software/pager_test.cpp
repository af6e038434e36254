// SPDX-License-Identifier: Apache-2.0
// The pager on the real userfaultfd: threads of this process are its vCPUs, and a mapping of the memfd of
// their own is the attacker's.
#include "memcrypt/software/pager.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <future>
#include <numeric>
#include <random>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast::memcrypt::software {
namespace {

using namespace std::chrono_literals;

UniqueFd own_pidfd() { return UniqueFd{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U))}; }

bool is_long() { return std::getenv("HOLDFAST_LONG") != nullptr; }

std::vector<std::uint32_t> shuffled(std::uint32_t count) {
    std::vector<std::uint32_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, std::mt19937{1});
    return order;
}

class PagerTest : public testing::Test {
protected:
    static constexpr std::uint32_t kPages = 8192;  // 32 MiB

    void SetUp() override {
        if (!device) GTEST_SKIP() << "skip: no /dev/userfaultfd";
    }
    void make(std::uint32_t window_pages, Config config = {.seal_after = 0ms}, std::uint32_t pages = kPages) {
        pager.reset();
        ram = sealed_memfd("guest-ram", pages * kPageSize).value();
        attacker = Mapping::shared(ram, pages * kPageSize).value();
        config.window_bytes = window_pages * kPageSize;
        auto views = Views::create(ram, pages * kPageSize, device, own_pidfd(), 2);
        ASSERT_TRUE(views.has_value()) << views.error().what;
        auto made = Pager::create(std::move(*views), {0}, config);
        ASSERT_TRUE(made.has_value()) << made.error().what;
        pager = std::move(*made);
        pager->report_to({.tampered = [this](std::uint32_t page) { tampered.set_value(page); },
                          .failed =
                              [](const Error& error) {
                                  ADD_FAILURE() << error.what << ' ' << errno_name(error.os_errno);
                              }});
    }
    [[nodiscard]] std::span<std::uint64_t, 512> words(std::uint32_t page) const {
        // SAFETY: a page of the mapping, which is aligned to pages.
        return std::span<std::uint64_t, 512>{
            reinterpret_cast<std::uint64_t*>(pager->guest_view().data() + page * kPageSize), 512};
    }
    [[nodiscard]] PageBytes frame(std::uint32_t page) const {
        return PageBytes{attacker.data() + page * kPageSize, kPageSize};
    }
    void fill(std::uint32_t page, std::uint64_t salt = 0) const {
        for (std::size_t i = 0; i < 512; ++i) words(page)[i] = pattern(page, i, salt);
    }
    [[nodiscard]] bool is_intact(std::uint32_t page, std::uint64_t salt = 0) const {
        for (std::size_t i = 0; i < 512; ++i) {
            if (words(page)[i] != pattern(page, i, salt)) return false;
        }
        return true;
    }
    /// Pages of which an onlooker with the memfd sees plaintext.
    [[nodiscard]] std::uint32_t visible(std::uint32_t pages = kPages) const {
        std::uint32_t count = 0;
        for (std::uint32_t page = 0; page < pages; ++page) {
            const std::uint64_t first = pattern(page, 0, 0);
            if (std::memcmp(frame(page).data(), &first, sizeof first) == 0) ++count;
        }
        return count;
    }
    static std::uint64_t pattern(std::uint32_t page, std::size_t word, std::uint64_t salt) {
        return (page + salt * 131 + 1) * 0x9e3779b97f4a7c15 + word;
    }

    UniqueFd device{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)};
    UniqueFd ram;
    Mapping attacker;
    std::promise<std::uint32_t> tampered;
    std::unique_ptr<Pager> pager;
};

TEST_F(PagerTest, AllOfRamHoldsWhatWasWrittenThroughASmallWindow) {
    make(Window::kMinPages);
    for (std::uint32_t page = 0; page < kPages; ++page) fill(page);
    for (std::uint32_t page = kPages; page-- > 0;) ASSERT_TRUE(is_intact(page)) << page;
    const Statistics now = pager->statistics();
    EXPECT_LE(now.most_clear, Window::kMinPages);
    EXPECT_GT(now.pages_sealed, kPages);
}

TEST_F(PagerTest, MemoryNeverTouchedReadsAsZeros) {
    make(256);
    for (const std::uint32_t page : {0U, 1U, 777U, kPages - 1}) {
        EXPECT_TRUE(is_zero(ConstPageBytes{std::as_bytes(words(page))}));
    }
}

TEST_F(PagerTest, AWindowAsLargeAsRamNeverSeals) {
    make(kPages);
    for (std::uint64_t turn = 0; turn < 3; ++turn) {
        for (std::uint32_t page = 0; page < kPages; ++page) fill(page, turn);
    }
    EXPECT_EQ(pager->statistics().pages_sealed, 0U);
    EXPECT_EQ(pager->statistics().clear, kPages);
}

TEST_F(PagerTest, AnOnlookerNeverSeesMoreThanTheWindow) {
    make(256);
    std::atomic<bool> done{false};
    std::jthread guest{[&] {
        std::mt19937 random{1};
        for (std::uint32_t page = 0; page < kPages; ++page) fill(page);
        for (int i = 0; i < 20'000; ++i) ASSERT_TRUE(is_intact(random() % kPages));
        done = true;
    }};
    // A sweep over 8192 pages is no moment: a few pages change places while it goes. One in which more than a
    // window of them did, because this thread had to wait for a processor, shows nothing.
    const auto came_in = [this] {
        const Statistics now = pager->statistics();
        return now.opened + now.faults_fresh + now.ahead;
    };
    std::uint32_t most = 0;
    int sweeps = 0;
    while (!done) {
        const std::uint64_t before = came_in();
        const std::uint32_t seen = visible();
        if (came_in() - before > 256) continue;
        most = std::max(most, seen);
        ++sweeps;
    }
    EXPECT_GT(sweeps, 0);
    EXPECT_LE(most, 256U + 256U);
    guest.join();
    ASSERT_TRUE(pager->seal_all().has_value());
    EXPECT_EQ(visible(), 0U);
}

TEST_F(PagerTest, WhatIsSealedOnDemandComesBack) {
    make(1024);
    for (std::uint32_t page = 0; page < 1000; ++page) fill(page);
    EXPECT_GT(visible(), 700U);  // the window, less what is kept free
    ASSERT_TRUE(pager->seal_all().has_value());
    EXPECT_EQ(visible(), 0U);
    EXPECT_EQ(pager->statistics().clear + pager->statistics().grace, 0U);
    for (std::uint32_t page = 0; page < 1000; ++page) ASSERT_TRUE(is_intact(page));
}

TEST_F(PagerTest, PagesNotInUseAreSealedInTime) {
    make(1024, {.seal_after = 200ms});
    for (std::uint32_t page = 0; page < 512; ++page) fill(page);
    // One page stays in use; the rest is left alone.
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    std::uint32_t left = visible();
    while (left > 1 && std::chrono::steady_clock::now() < deadline) {
        ASSERT_TRUE(is_intact(300));
        left = visible();
    }
    EXPECT_LE(left, 1U);
}

TEST_F(PagerTest, EqualPagesNeverLookEqualNorTwiceTheSame) {
    make(256);
    const auto write_one = [&](std::uint32_t page) { std::ranges::fill(words(page), 42); };
    write_one(1);
    write_one(2);
    ASSERT_TRUE(pager->seal_all().has_value());
    EXPECT_FALSE(std::ranges::equal(frame(1), frame(2)));
    const std::vector<std::byte> before{frame(1).begin(), frame(1).end()};
    EXPECT_EQ(words(1)[9], 42U);
    ASSERT_TRUE(pager->seal_all().has_value());
    EXPECT_FALSE(std::ranges::equal(frame(1), before));
}

TEST_F(PagerTest, SealedPagesThatWereChangedAreFoundEachTime) {
    // Every way in which another holder of the memory file can change pages, many times over. Two pages of a
    // cluster only, so that none is opened before its turn beside another, nor left half-way when that one
    // fails.
    constexpr std::uint32_t kTries = kPages / Neighbours::kPages;
    const auto page_of = [](std::uint32_t i) { return i * 37 % kTries * Neighbours::kPages; };  // no walk
    const std::uint32_t rounds = is_long() ? 200 : 8;
    std::mt19937 random{5};
    for (std::uint32_t round = 0; round < rounds; ++round) {
        make(1024, {.seal_after = 0ms, .suite = round % 2 == 0 ? Suite::Aegis256x2 : Suite::Aes256Gcm});
        tampered = {};
        const auto fill_all = [&] {
            for (std::uint32_t i = 0; i < kTries; ++i) {
                fill(page_of(i));
                fill(page_of(i) + 1);
            }
        };
        fill_all();
        ASSERT_TRUE(pager->seal_all().has_value());
        const std::vector<std::byte> old{attacker.bytes().begin(), attacker.bytes().end()};
        // All are sealed anew, so that what was there before is a replay.
        fill_all();
        ASSERT_TRUE(pager->seal_all().has_value());
        for (std::uint32_t i = 0; i < kTries; ++i) {
            const std::uint32_t page = page_of(i);
            const std::span was = std::span{old}.subspan(page * kPageSize, kPageSize);
            switch (i % 4) {
                case 0: frame(page)[random() % kPageSize] ^= std::byte{1} << random() % 8; break;
                case 1: std::ranges::swap_ranges(frame(page), frame(page + 1)); break;
                case 2: std::ranges::copy(was, frame(page).begin()); break;
                default: std::ranges::fill(frame(page), std::byte{}); break;
            }
            ASSERT_FALSE(pager->make_ready(page, 1).has_value()) << "way " << i % 4 << " page " << page;
        }
        EXPECT_EQ(pager->statistics().poisoned, kTries);
        EXPECT_EQ(tampered.get_future().get(), 0U);
        // Those that nobody touched are as they were.
        for (std::uint32_t i = 0; i < kTries; i += 4) ASSERT_TRUE(is_intact(page_of(i) + 1));
    }
}

TEST_F(PagerTest, PagesOfZerosThatWereChangedAreFoundToo) {
    make(256);
    words(3)[0] = 0;  // touched, and zero
    ASSERT_TRUE(pager->seal_all().has_value());
    ASSERT_EQ(pager->statistics().zero, 1U);
    frame(3)[100] = std::byte{1};
    EXPECT_FALSE(pager->make_ready(3, 1).has_value());
    frame(4)[0] = std::byte{1};  // never touched by the guest
    EXPECT_FALSE(pager->make_ready(4, 1).has_value());
}

TEST_F(PagerTest, AThreadThatTouchesAChangedPageNeverGetsIt) {
    make(256);
    fill(5);
    ASSERT_TRUE(pager->seal_all().has_value());
    frame(5)[17] ^= std::byte{1};
    auto* const value = &words(5)[0];
    // It waits for ever, as a vCPU would: it is left behind, with the mapping.
    auto* const view = pager.get();
    std::promise<void> got;
    auto returned = got.get_future();
    std::thread guest{[value, done = std::move(got)]() mutable {
        [[maybe_unused]] const std::uint64_t read = *static_cast<volatile std::uint64_t*>(value);
        done.set_value();
    }};
    EXPECT_EQ(tampered.get_future().get(), 5U);
    EXPECT_EQ(returned.wait_for(50ms), std::future_status::timeout);
    EXPECT_EQ(view->statistics().poisoned, 1U);
    guest.detach();
    [[maybe_unused]] const auto* const leaked = pager.release();
}

TEST_F(PagerTest, KeysAreChangedInTimeAndNothingIsLost) {
    make(128, {.seal_after = 0ms, .pages_per_key = 3000});
    for (std::uint64_t round = 0; round < 4; ++round) {
        for (std::uint32_t page = 0; page < kPages; ++page) fill(page, round);
        for (std::uint32_t page = 0; page < kPages; ++page) ASSERT_TRUE(is_intact(page, round)) << page;
    }
    EXPECT_GE(pager->statistics().keys, 10U);
}

TEST_F(PagerTest, ExemptPagesStayClearOutsideOfTheWindowUntilTheyAreProtected) {
    make(Window::kMinPages);
    for (std::uint32_t page = 0; page < 1000; ++page) fill(page);
    ASSERT_TRUE(pager->exempt(100, 200).has_value());
    EXPECT_EQ(pager->statistics().exempt, 200U);
    for (std::uint32_t page = 0; page < 1000; ++page) ASSERT_TRUE(is_intact(page));
    ASSERT_TRUE(pager->seal_all().has_value());
    EXPECT_EQ(visible(), 200U);
    ASSERT_TRUE(pager->protect(100, 200).has_value());
    EXPECT_EQ(visible(), 0U);
    EXPECT_EQ(pager->statistics().exempt, 0U);
    for (std::uint32_t page = 0; page < 1000; ++page) ASSERT_TRUE(is_intact(page));
}

TEST_F(PagerTest, WipingLeavesNothingToRead) {
    make(1024);
    for (std::uint32_t page = 0; page < 1500; ++page) fill(page);
    EXPECT_GT(visible(), 500U);
    pager->wipe();
    EXPECT_EQ(visible(), 0U);
    EXPECT_FALSE(pager->make_ready(0, 1).has_value());
}

TEST_F(PagerTest, WalksAreOpenedAhead) {
    make(1024);
    for (std::uint32_t page = 0; page < kPages; ++page) fill(page);
    ASSERT_TRUE(pager->seal_all().has_value());
    const Statistics before = pager->statistics();
    for (std::uint32_t page = 0; page < kPages; ++page) ASSERT_TRUE(is_intact(page));
    const Statistics after = pager->statistics();
    EXPECT_LT(after.faults_sealed - before.faults_sealed, kPages / 8);
    EXPECT_GT(after.ahead_useful - before.ahead_useful, kPages / 2);
}

TEST_F(PagerTest, AWorkingSetThatComesBackBringsItsNeighbours) {
    make(kPages);
    for (std::uint32_t page = 0; page < kPages; ++page) fill(page);
    ASSERT_TRUE(pager->seal_all().has_value());
    const Statistics before = pager->statistics();
    for (const std::uint32_t page : shuffled(kPages)) ASSERT_TRUE(is_intact(page));
    const Statistics after = pager->statistics();
    EXPECT_LT(after.faults_sealed - before.faults_sealed, kPages / 2);
    EXPECT_GT(after.neighbours - before.neighbours, kPages / 2);
}

TEST_F(PagerTest, NeighboursOfPagesThatAreUsedAloneStaySealed) {
    make(kPages);
    for (std::uint32_t page = 0; page < kPages; ++page) fill(page);
    ASSERT_TRUE(pager->seal_all().has_value());
    const Statistics before = pager->statistics();
    for (const std::uint32_t cluster : shuffled(kPages / Neighbours::kPages)) {
        ASSERT_TRUE(is_intact(cluster * Neighbours::kPages + 5));
    }
    // A hundred clusters at most until it is seen that this is of no use.
    EXPECT_LT(pager->statistics().neighbours - before.neighbours, 100 * Neighbours::kPages);
}

// Threads that write and check pages of their own, in every pattern, while everything is sealed again and
// again and another thread readies pages as devices do. Not one wrong byte.
TEST_F(PagerTest, NothingIsLostUnderEverythingAtOnce) {
    const auto time = is_long() ? 120s : 3s;
    for (const std::uint32_t window : {Window::kMinPages, 400U, 4000U}) {
        make(window, {.seal_after = 30ms, .pages_per_key = 20'000});
        const auto deadline = std::chrono::steady_clock::now() + time;
        std::atomic<bool> stop{false};
        std::vector<std::jthread> guests;
        constexpr std::uint32_t kShare = kPages / 2;
        for (std::uint32_t guest = 0; guest < 2; ++guest) {
            guests.emplace_back([this, guest, deadline] {
                std::mt19937_64 random{guest};
                std::vector<std::uint64_t> salts(kShare, 0);
                const std::uint32_t base = guest * kShare;
                for (std::uint32_t page = 0; page < kShare; ++page) fill(base + page);
                for (std::uint32_t step = 0; std::chrono::steady_clock::now() < deadline; ++step) {
                    std::uint32_t page = 0;
                    switch (step / 512 % 4) {
                        case 0: page = step % kShare; break;
                        case 1: page = static_cast<std::uint32_t>(random() % kShare); break;
                        case 2: page = (step % 2 == 0 ? 1 : kShare - 1); break;
                        default: page = static_cast<std::uint32_t>(random() % 64 * (random() % 64)); break;
                    }
                    ASSERT_TRUE(is_intact(base + page, salts[page])) << "page " << base + page;
                    if (random() % 2 == 0) fill(base + page, ++salts[page]);
                }
            });
        }
        std::jthread visitor{[this, &stop] {
            std::mt19937 random{99};
            while (!stop) {
                const auto page = static_cast<std::uint32_t>(random()) % (kPages - Pager::kMostReady);
                ASSERT_TRUE(pager->make_ready(page, 1 + page % Pager::kMostReady).has_value());
                if (page % 64 == 0) {
                    ASSERT_TRUE(pager->seal_all().has_value());
                }
            }
        }};
        for (std::jthread& guest : guests) guest.join();
        stop = true;
        visitor.join();
        EXPECT_LE(pager->statistics().most_clear, window);
        EXPECT_EQ(pager->statistics().poisoned, 0U);
    }
}

TEST_F(PagerTest, SizesThatCannotBeAreRefused) {
    const auto attempt = [&](std::uint64_t window_bytes) {
        ram = sealed_memfd("guest-ram", 256 * kPageSize).value();
        auto views = Views::create(ram, 256 * kPageSize, device, own_pidfd(), 2);
        return Pager::create(std::move(*views), {0}, {.window_bytes = window_bytes});
    };
    EXPECT_FALSE(attempt(63 * kPageSize).has_value());
    EXPECT_FALSE(attempt(257 * kPageSize).has_value());
    EXPECT_TRUE(attempt(256 * kPageSize).has_value());
}

}  // namespace
}  // namespace holdfast::memcrypt::software
