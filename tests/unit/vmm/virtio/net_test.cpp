// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/net.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

constexpr std::uint64_t kBuffer = 0x200000;
constexpr unsigned kNext = spec::DESC_F_NEXT;
constexpr unsigned kWrite = spec::DESC_F_WRITE;

class NetTest : public testing::Test {
protected:
    NetTest() : net{board.memory, board.client, {.mac = {2, 3, 4, 5, 6, 7}, .mtu = 1500}} {
        board.plug(1, net);
        driver.emplace(board, 1);
        start();
    }
    void start() {
        driver->begin();
        receive = driver->enable(0, 64, 0x100000);
        transmit = driver->enable(1, 64, 0x120000);
        driver->finish();
    }
    void send(std::uint32_t bytes, std::uint8_t flags = 0, std::uint8_t gso = 0) {
        board.memory.fill_zero(GuestAddr{kBuffer}, 12).value();
        board.memory.write_value(GuestAddr{kBuffer}, flags).value();
        board.memory.write_value(GuestAddr{kBuffer + 1}, gso).value();
        transmit.describe(0, kBuffer, 12, kNext, 1);
        transmit.describe(1, kBuffer + 0x100, bytes);
        transmit.offer(0);
        driver->kick(1);
        board.turn();
    }
    std::size_t count(io::Op op) const {
        return static_cast<std::size_t>(std::ranges::count(board.client.queued, op, &io::Request::op));
    }
    Board board;
    Net net;
    std::optional<FakeDriver> driver;
    DriverQueue receive;
    DriverQueue transmit;
};

TEST_F(NetTest, ConfigurationHoldsMacLinkAndMtu) {
    EXPECT_EQ(driver->device_config<std::uint8_t>(0), 2);
    EXPECT_EQ(driver->device_config<std::uint8_t>(5), 7);
    EXPECT_EQ(driver->device_config<std::uint16_t>(6), 1);
    EXPECT_EQ(driver->device_config<std::uint16_t>(10), 1500);
    EXPECT_EQ(driver->device_config<std::uint32_t>(12), 0U);
}

TEST_F(NetTest, FrameLeavesWithoutItsHeader) {
    board.memory.write_value(GuestAddr{kBuffer + 0x100}, std::uint32_t{0xaabbccdd}).value();
    send(60);
    EXPECT_EQ(transmit.used_index(), 1);
    EXPECT_EQ(transmit.used_element(0).len.get(), 0U);
    ASSERT_EQ(count(io::Op::Send), 1U);
    auto& request = *std::ranges::find(board.client.queued, io::Op::Send, &io::Request::op);
    EXPECT_EQ(request.length, 60U);
    std::uint32_t word = 0;
    std::memcpy(&word, request.slot.bytes(4).data(), 4);
    EXPECT_EQ(word, 0xaabbccddU);
}

TEST_F(NetTest, FramesThatCannotBeAreDroppedAndTheirChainsReturned) {
    send(0);
    send(1500 + 18 + 1);
    send(1U << 20);
    send(60, 1);
    send(60, 0, 1);
    transmit.describe(0, kBuffer, 11);  // not even a header
    transmit.offer(0);
    driver->kick(1);
    board.turn();
    EXPECT_EQ(transmit.used_index(), 6);
    EXPECT_EQ(count(io::Op::Send), 0U);
    EXPECT_FALSE(driver->needs_reset());
}

TEST_F(NetTest, SendingStopsAtItsShareOfTheArenaAndGoesOn) {
    for (std::uint32_t i = 0; i < Net::kMaxSends + 10; ++i) send(60);
    EXPECT_EQ(count(io::Op::Send), Net::kMaxSends);
    EXPECT_EQ(transmit.used_index(), Net::kMaxSends);
    for (std::size_t i = board.client.queued.size(); i-- > 0;) {
        if (board.client.queued[i].op == io::Op::Send) board.client.complete(i);
    }
    board.turn();
    EXPECT_EQ(transmit.used_index(), Net::kMaxSends + 10);
}

TEST_F(NetTest, FrameForTheGuestGetsAHeader) {
    EXPECT_EQ(count(io::Op::Receive), Inbox::kDepth);
    const std::array<std::byte, 60> frame{std::byte{0x11}, std::byte{0x22}};
    ASSERT_TRUE(board.client.deliver(io::kNet, frame));
    board.turn();
    EXPECT_EQ(receive.used_index(), 0);  // no buffer yet
    receive.describe(0, kBuffer, 12, kNext | kWrite, 1);
    receive.describe(1, kBuffer + 0x100, 1514, kWrite);
    receive.offer(0);
    driver->kick(0);
    board.turn();
    EXPECT_EQ(receive.used_index(), 1);
    EXPECT_EQ(receive.used_element(0).len.get(), 72U);
    EXPECT_EQ(board.memory.read_value<std::uint16_t>(GuestAddr{kBuffer + 10}).value(), 1);
    EXPECT_EQ(board.memory.read_value<std::uint16_t>(GuestAddr{kBuffer + 0x100}).value(), 0x2211);
    EXPECT_EQ(count(io::Op::Receive), Inbox::kDepth);
    EXPECT_EQ(driver->interrupts(1), 1);
}

TEST_F(NetTest, BufferTooSmallLosesTheFrameOnly) {
    const std::array<std::byte, 60> frame{};
    receive.describe(0, kBuffer, 71, kWrite);
    receive.offer(0);
    driver->kick(0);
    ASSERT_TRUE(board.client.deliver(io::kNet, frame));
    board.turn();
    EXPECT_EQ(receive.used_element(0).len.get(), 0U);
    EXPECT_FALSE(driver->needs_reset());
}

TEST_F(NetTest, GuestThatTakesNothingHoldsABoundedShare) {
    const std::array<std::byte, 60> frame{};
    for (int i = 0; i < 1000 && board.client.deliver(io::kNet, frame); ++i) board.turn();
    EXPECT_EQ(board.client.slots_in_use(), Inbox::kDepth + 1);  // and one kept for sending
    EXPECT_EQ(count(io::Op::Receive), 0U);
}

TEST_F(NetTest, FramesOfBeforeAResetAreNotDelivered) {
    const std::array<std::byte, 60> frame{};
    ASSERT_TRUE(board.client.deliver(io::kNet, frame));
    board.turn();
    driver->set_status(0);
    board.turn();
    EXPECT_EQ(driver->status(), 0);
    ASSERT_TRUE(board.client.deliver(io::kNet, frame));  // arrives while nobody is there
    board.turn();
    start();
    receive.describe(0, kBuffer, 2000, kWrite);
    receive.offer(0);
    driver->kick(0);
    board.turn();
    EXPECT_EQ(receive.used_index(), 0);
    EXPECT_EQ(count(io::Op::Receive), Inbox::kDepth);
}

TEST_F(NetTest, DeadBackendIsNotAskedAgain) {
    board.client.complete(0, io::Status::IoError);
    board.turn();
    EXPECT_EQ(count(io::Op::Receive), Inbox::kDepth - 1);
}

}  // namespace
}  // namespace holdfast::virtio
