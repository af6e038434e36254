// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/worker.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include <sys/socket.h>
#include <time.h>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"
#include "vmm/virtio/console.hpp"
#include "vmm/virtio/rng.hpp"

namespace holdfast::virtio {
namespace {

using namespace std::chrono_literals;

/// The real thread: waits for the guest-visible effect, with a deadline, never for a time to pass.
template <typename Condition>
bool eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::yield();
    }
    return true;
}

class WorkerTest : public testing::Test {
protected:
    WorkerTest() : rng{board.memory} {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        outside = UniqueFd{ends[0]};
        console = std::make_unique<Console>(board.memory, UniqueFd{ends[1]});
        board.plug(1, rng);
        board.plug(2, *console);
        driver.emplace(board, 1);
        driver->begin(spec::F_VERSION_1 | spec::F_EVENT_IDX);
        queue = driver->enable(0, 16, 0x100000);
        driver->finish();
        terminal.emplace(board, 2);
        terminal->begin();
        input = terminal->enable(0, 16, 0x120000);
        output = terminal->enable(1, 16, 0x140000);
        terminal->finish();
    }
    ~WorkerTest() override { board.worker.reset(); }
    void ask() {
        queue.describe(0, 0x200000, 8, spec::DESC_F_WRITE);
        queue.offer(0);
        driver->kick(0);
    }
    std::uint16_t served() const { return board.memory.load_acquire(GuestAddr{queue.used + 2}).value(); }
    Board board;
    Rng rng;
    UniqueFd outside;
    std::unique_ptr<Console> console;
    std::optional<FakeDriver> driver;
    std::optional<FakeDriver> terminal;
    DriverQueue queue;
    DriverQueue input;
    DriverQueue output;
};

TEST_F(WorkerTest, EveryKickIsServedHoweverTheThreadSleeps) {
    board.worker->start();
    for (unsigned i = 1; i <= 2000; ++i) {
        ask();
        ASSERT_TRUE(eventually([&] { return served() == i; })) << i;
    }
}

TEST_F(WorkerTest, InputWakesTheThread) {
    board.worker->start();
    input.describe(0, 0x300000, 16, spec::DESC_F_WRITE);
    input.offer(0);
    terminal->kick(0);
    ASSERT_EQ(::send(outside.get(), "x", 1, 0), 1);
    EXPECT_TRUE(
        eventually([&] { return board.memory.load_acquire(GuestAddr{input.used + 2}).value() == 1; }));
}

TEST_F(WorkerTest, NothingHappensWhilePausedAndAllOfItAfterwards) {
    board.worker->start();
    for (std::uint16_t round = 0; round < 50; ++round) {
        board.worker->pause();
        ask();
        EXPECT_EQ(served(), round);
        board.worker->resume();
        ASSERT_TRUE(eventually([&] { return served() == round + 1; }));
    }
}

TEST_F(WorkerTest, ResetFromAnotherThreadCompletes) {
    board.worker->start();
    for (int i = 0; i < 50; ++i) {
        driver->set_status(0);
        ASSERT_TRUE(eventually([&] { return driver->status() == 0; }));
        driver->set_status(spec::ACKNOWLEDGE | spec::DRIVER);
        driver->accept(spec::F_VERSION_1);
        driver->set_status(spec::ACKNOWLEDGE | spec::DRIVER | spec::FEATURES_OK);
        queue = driver->enable(0, 16, 0x100000);
        driver->set_status(driver->status() | spec::DRIVER_OK);
        ask();
        ASSERT_TRUE(eventually([&] { return served() == 1; }));
    }
}

TEST_F(WorkerTest, BrokenClientIsReportedOnceAndPauseStillReturns) {
    board.client.broken = true;
    board.worker->start();
    board.worker->pause();
    board.worker->resume();
    board.worker->pause();
    ASSERT_EQ(board.failures.size(), 1U);
    EXPECT_EQ(board.failures[0].fault, Fault::Peer);
}

TEST(Spin, GrowsWhileWorkComesSoonAndGoesAwayWhenItDoesNot) {
    Spin spin;
    Spin::Clock::time_point now{};
    const auto idle_for = [&](std::chrono::nanoseconds time) {  // asleep all the while
        spin.woke(now, now + time);
        now += time;
    };
    EXPECT_EQ(spin.length(), 0ns);
    idle_for(5us);
    EXPECT_EQ(spin.length(), Spin::kFirst);
    for (int i = 0; i < 10; ++i) idle_for(5us);
    EXPECT_EQ(spin.length(), Spin::kLongest);
    for (int i = 0; i < 10; ++i) idle_for(1ms);
    EXPECT_EQ(spin.length(), 0ns);
}

TEST(Spin, RestsWhereWorkComesAsSoonAsItSleeps) {
    Spin spin;
    Spin::Clock::time_point now{};
    int polls = 0;
    for (int i = 0; i < 1000; ++i) {
        while (spin.goes_on(now)) {
            now += 1us;
            ++polls;
        }
        spin.woke(now, now + 3us);
        now += 3us;
        spin.worked(now);
    }
    EXPECT_LT(polls, 1000);
}

TEST(Spin, DoesNotRestWhereWorkIsMetNowAndThen) {
    Spin spin;
    Spin::Clock::time_point now{};
    int met = 0;
    for (int i = 0; i < 1000; ++i) {
        const auto comes = now + (i % 4 == 0 ? spin.length() + 3us : 8us);
        while (now < comes && spin.goes_on(now)) now += 1us;
        if (now < comes) {
            spin.woke(now, comes);
            now = comes;
        } else {
            ++met;
        }
        spin.worked(now);
    }
    EXPECT_GT(met, 700);
}

}  // namespace
}  // namespace holdfast::virtio
