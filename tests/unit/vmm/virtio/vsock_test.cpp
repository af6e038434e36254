// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/vsock.hpp"

#include <cstring>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

constexpr std::uint64_t kBuffer = 0x200000;
constexpr std::uint32_t kCid = 42;
constexpr unsigned kNext = spec::DESC_F_NEXT;
constexpr unsigned kWrite = spec::DESC_F_WRITE;

struct [[gnu::packed]] GuestHeader {
    std::uint64_t src_cid = kCid;
    std::uint64_t dst_cid = 2;
    std::uint32_t src_port = 1111;
    std::uint32_t dst_port = 2222;
    std::uint32_t len = 0;
    std::uint16_t type = 1;
    std::uint16_t op = io::vsock::OP_RW;
    std::uint32_t flags = 0;
    std::uint32_t buf_alloc = 4096;
    std::uint32_t fwd_cnt = 7;
};
static_assert(sizeof(GuestHeader) == 44);

class VsockTest : public testing::Test {
protected:
    VsockTest() : vsock{board.memory, board.client, kCid} {
        board.plug(1, vsock);
        driver.emplace(board, 1);
        driver->begin();
        receive = driver->enable(0, 16, 0x100000);
        transmit = driver->enable(1, 16, 0x120000);
        driver->enable(2, 16, 0x140000);
        driver->finish();
    }
    void send(const GuestHeader& header, std::uint32_t bytes) {
        board.memory.write_value(GuestAddr{kBuffer}, header).value();
        transmit.describe(0, kBuffer, 44, bytes == 0 ? 0 : kNext, 1);
        transmit.describe(1, kBuffer + 0x1000, bytes);
        transmit.offer(0);
        driver->kick(1);
        board.turn();
    }
    std::vector<io::Request*> sent() {
        std::vector<io::Request*> found;
        for (io::Request& request : board.client.queued) {
            if (request.op == io::Op::Send) found.push_back(&request);
        }
        return found;
    }
    static io::VsockPacket packet_of(io::Request& request) {
        io::VsockPacket packet;
        std::memcpy(&packet, request.slot.bytes(sizeof packet).data(), sizeof packet);
        return packet;
    }
    static std::vector<std::byte> message(std::uint32_t payload, std::uint32_t claimed) {
        std::vector<std::byte> bytes(32 + payload);
        const io::VsockPacket packet{.src_port = 5, .dst_port = 6, .len = claimed, .op = 5, .type = 1};
        std::memcpy(bytes.data(), &packet, sizeof packet);
        for (std::uint32_t i = 0; i < payload; ++i) bytes[32 + i] = static_cast<std::byte>(i);
        return bytes;
    }
    Board board;
    Vsock vsock;
    std::optional<FakeDriver> driver;
    DriverQueue receive;
    DriverQueue transmit;
};

TEST_F(VsockTest, PacketOfTheGuestLosesItsCids) {
    board.memory.write_value(GuestAddr{kBuffer + 0x1000}, std::uint32_t{0x01020304}).value();
    send({.len = 4}, 4);
    ASSERT_EQ(sent().size(), 1U);
    EXPECT_EQ(sent()[0]->length, 36U);
    const auto packet = packet_of(*sent()[0]);
    EXPECT_EQ(packet.src_port.get(), 1111U);
    EXPECT_EQ(packet.dst_port.get(), 2222U);
    EXPECT_EQ(packet.len.get(), 4U);
    EXPECT_EQ(packet.op.get(), 5);
    EXPECT_EQ(packet.fwd_cnt.get(), 7U);
    EXPECT_EQ(sent()[0]->slot.bytes(36)[32], std::byte{4});
    EXPECT_EQ(transmit.used_index(), 1);
}

TEST_F(VsockTest, ForgedOrLyingPacketsAreDropped) {
    send({.src_cid = kCid + 1}, 0);
    send({.src_cid = kCid | 1ULL << 32}, 0);
    send({.dst_cid = 3}, 0);
    send({.len = 5}, 4);
    send({.len = ~0U}, 4);
    send({.len = 65537}, 65537);
    EXPECT_TRUE(sent().empty());
    EXPECT_EQ(transmit.used_index(), 6);
    EXPECT_FALSE(driver->needs_reset());
}

TEST_F(VsockTest, ShortHeaderMakesTheDeviceAskForReset) {
    transmit.describe(0, kBuffer, 43);
    transmit.offer(0);
    driver->kick(1);
    board.turn();
    EXPECT_TRUE(driver->needs_reset());
}

TEST_F(VsockTest, LargestPacketTakesTwoSlots) {
    send({.len = 65536}, 65536);
    ASSERT_EQ(sent().size(), 2U);
    EXPECT_EQ(packet_of(*sent()[0]).len.get(), Vsock::kMaxPayload);
    EXPECT_EQ(packet_of(*sent()[1]).len.get(), 32U);
    EXPECT_EQ(sent()[1]->length, 64U);
}

TEST_F(VsockTest, PacketForTheGuestIsCutToItsBuffers) {
    const auto bytes = message(150, 150);
    for (std::uint16_t i = 0; i < 2; ++i) {
        receive.describe(i, kBuffer + 0x1000 * i, 144, kWrite);
        receive.offer(i);
    }
    ASSERT_TRUE(board.client.deliver(io::kVsock, bytes));
    board.turn();
    EXPECT_EQ(receive.used_index(), 2);
    EXPECT_EQ(receive.used_element(0).len.get(), 144U);
    EXPECT_EQ(receive.used_element(1).len.get(), 94U);
    const auto header = board.memory.read_value<GuestHeader>(GuestAddr{kBuffer + 0x1000}).value();
    EXPECT_EQ(header.src_cid, 2U);
    EXPECT_EQ(header.dst_cid, kCid);
    EXPECT_EQ(header.len, 50U);
    EXPECT_EQ(header.src_port, 5U);
    EXPECT_EQ(board.memory.read_value<std::uint8_t>(GuestAddr{kBuffer + 0x1000 + 44}).value(), 100);
}

TEST_F(VsockTest, BufferWithoutRoomForDataMakesTheDeviceAskForReset) {
    receive.describe(0, kBuffer, 44, kWrite);
    receive.offer(0);
    ASSERT_TRUE(board.client.deliver(io::kVsock, message(1, 1)));
    board.turn();
    EXPECT_TRUE(driver->needs_reset());
}

TEST_F(VsockTest, MalformedMessagesOfTheIoProcessAreDropped) {
    receive.describe(0, kBuffer, 4096, kWrite);
    receive.offer(0);
    for (const auto& bad : {std::vector<std::byte>(31), message(4, 5), message(4, 3), message(0, ~0U)}) {
        ASSERT_TRUE(board.client.deliver(io::kVsock, bad));
        board.turn();
    }
    EXPECT_EQ(receive.used_index(), 0);
    ASSERT_TRUE(board.client.deliver(io::kVsock, message(0, 0)));
    board.turn();
    EXPECT_EQ(receive.used_element(0).len.get(), 44U);
}

}  // namespace
}  // namespace holdfast::virtio
