// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/rng.hpp"

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

class RngTest : public testing::Test {
protected:
    RngTest() : rng{board.memory} {
        board.plug(1, rng);
        driver.emplace(board, 1);
        driver->begin();
        queue = driver->enable(0, 16, 0x100000);
        driver->finish();
    }
    void ask(std::uint32_t bytes) {
        queue.describe(0, 0x200000, bytes, spec::DESC_F_WRITE);
        queue.offer(0);
        driver->kick(0);
        board.turn();
    }
    Board board;
    Rng rng;
    std::optional<FakeDriver> driver;
    DriverQueue queue;
};

TEST_F(RngTest, FillsWhatWasAskedForAndNothingElse) {
    board.memory.fill_zero(GuestAddr{0x200000}, 128).value();
    ask(64);
    EXPECT_EQ(queue.used_element(0).len.get(), 64U);
    unsigned set = 0;
    for (std::uint64_t i = 0; i < 64; ++i) {
        set += board.memory.read_value<std::uint8_t>(GuestAddr{0x200000 + i}).value() != 0 ? 1U : 0U;
    }
    EXPECT_GT(set, 40U);
    EXPECT_EQ(board.memory.read_value<std::uint64_t>(GuestAddr{0x200040}).value(), 0U);
}

TEST_F(RngTest, HugeRequestIsAnsweredShort) {
    ask(1U << 20);
    EXPECT_EQ(queue.used_element(0).len.get(), Rng::kMaxRequest);
}

TEST_F(RngTest, GreedyGuestIsSlowedDown) {
    for (int i = 0; i < 200 && !rng.deadline(); ++i) ask(Rng::kMaxRequest);
    EXPECT_TRUE(rng.deadline().has_value());
    const unsigned served = queue.used_index();
    EXPECT_LT(served, 100U);
    ask(1);
    EXPECT_FALSE(driver->needs_reset());
}

TEST_F(RngTest, RequestWithoutRoomIsAnsweredEmpty) {
    queue.describe(0, 0x200000, 16, 0);
    queue.offer(0);
    driver->kick(0);
    board.turn();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(queue.used_element(0).len.get(), 0U);
}

}  // namespace
}  // namespace holdfast::virtio
