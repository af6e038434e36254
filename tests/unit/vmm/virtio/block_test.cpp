// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/block.hpp"

#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

constexpr std::uint64_t kRing = 0x100000;
constexpr std::uint64_t kHeader = 0x200000;
constexpr std::uint64_t kStatus = 0x201000;
constexpr std::uint64_t kData = 0x400000;
constexpr std::uint64_t kDiskSize = 4ULL << 20;
constexpr unsigned kNext = spec::DESC_F_NEXT;
constexpr unsigned kWrite = spec::DESC_F_WRITE;

class BlockTest : public testing::Test {
protected:
    explicit BlockTest(bool read_only = false, std::size_t slots = 128)
        : board{slots},
          disk(kDiskSize),
          block{board.memory,
                board.client,
                {.disk = io::ResourceId{0},
                 .size_bytes = kDiskSize,
                 .read_only = read_only,
                 .serial = "holdfast-0"}} {
        board.plug(1, block);
        driver.emplace(board, 1);
        driver->begin(spec::F_VERSION_1 | spec::F_INDIRECT_DESC);
        queue = driver->enable(0, 256, kRing);
        driver->finish();
        std::iota(reinterpret_cast<unsigned char*>(disk.data()),
                  reinterpret_cast<unsigned char*>(disk.data()) + 4096, 0);
    }
    void header(std::uint32_t type, std::uint64_t sector, std::uint64_t at = kHeader) {
        board.memory.write_value(GuestAddr{at}, type).value();
        board.memory.write_value(GuestAddr{at + 4}, std::uint32_t{0}).value();
        board.memory.write_value(GuestAddr{at + 8}, sector).value();
        board.memory.write_value(GuestAddr{kStatus}, std::uint8_t{0xee}).value();
    }
    /// Header, one data descriptor, status.
    void request(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes) {
        header(type, sector);
        const bool in = type == 0 || type == 8;
        queue.describe(0, kHeader, 16, kNext, bytes == 0 ? 2 : 1);
        queue.describe(1, kData, bytes, kNext | (in ? kWrite : 0), 2);
        queue.describe(2, kStatus, 1, kWrite);
        queue.offer(0);
        driver->kick(0);
        board.turn();
    }
    unsigned status() { return board.memory.read_value<std::uint8_t>(GuestAddr{kStatus}).value(); }
    std::uint32_t used_length(unsigned index = 0) { return queue.used_element(index).len.get(); }
    void serve() {
        board.client.serve(disk);
        board.turn();
    }
    std::vector<std::byte> guest(std::uint64_t at, std::size_t size) {
        std::vector<std::byte> bytes(size);
        board.memory.read(GuestAddr{at}, bytes).value();
        return bytes;
    }

    Board board;
    std::vector<std::byte> disk;
    Block block;
    std::optional<FakeDriver> driver;
    DriverQueue queue;
};

class ReadOnlyBlockTest : public BlockTest {
protected:
    ReadOnlyBlockTest() : BlockTest{true} {}
};
class CrampedBlockTest : public BlockTest {
protected:
    CrampedBlockTest() : BlockTest{false, 2} {}
};

TEST_F(BlockTest, ReadBringsTheDisksBytesAndCountsTheStatusByte) {
    request(0, 1, 1024);
    ASSERT_EQ(board.client.queued.size(), 1U);
    EXPECT_EQ(board.client.queued[0].offset, 512U);
    EXPECT_EQ(queue.used_index(), 0);
    serve();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(status(), 0U);
    EXPECT_EQ(used_length(), 1025U);
    EXPECT_EQ(0, std::memcmp(guest(kData, 1024).data(), disk.data() + 512, 1024));
    EXPECT_EQ(driver->interrupts(1), 1);
    EXPECT_EQ(board.client.slots_in_use(), 0U);
}

TEST_F(BlockTest, WriteReachesTheDisk) {
    board.memory.write_value(GuestAddr{kData}, std::uint64_t{0x1122334455667788}).value();
    request(1, 8, 512);
    serve();
    EXPECT_EQ(status(), 0U);
    EXPECT_EQ(used_length(), 1U);
    std::uint64_t word = 0;
    std::memcpy(&word, disk.data() + 8 * 512, sizeof word);
    EXPECT_EQ(word, 0x1122334455667788U);
}

TEST_F(BlockTest, FlushIsPassedOnAndAnsweredOnlyWhenItCompletes) {
    request(4, 0, 0);
    ASSERT_EQ(board.client.queued.size(), 1U);
    EXPECT_EQ(board.client.queued[0].op, io::Op::Flush);
    EXPECT_EQ(status(), 0xeeU);
    serve();
    EXPECT_EQ(status(), 0U);
}

TEST_F(BlockTest, IdIsTheSerialPaddedWithZeroes) {
    request(8, 0, 20);
    EXPECT_EQ(status(), 0U);
    EXPECT_EQ(used_length(), 21U);
    EXPECT_STREQ(reinterpret_cast<const char*>(guest(kData, 20).data()), "holdfast-0");
}

TEST_F(BlockTest, RequestPastTheEndOrOffSectorsIsAnErrorAndReachesNoDisk) {
    struct Case {
        std::uint64_t sector;
        std::uint32_t bytes;
    };
    const std::uint64_t end = kDiskSize / 512;
    unsigned answered = 0;
    for (const auto& [sector, bytes] :
         {Case{end, 512}, Case{end - 1, 1024}, Case{~0ULL, 512}, Case{~0ULL / 512, 512}, Case{end + 1, 512},
          Case{0, 511}, Case{0, 1}}) {
        for (const std::uint32_t type : {0U, 1U}) {
            request(type, sector, bytes);
            EXPECT_EQ(status(), 1U) << sector << " " << bytes;
            EXPECT_EQ(queue.used_index(), ++answered);
            EXPECT_EQ(used_length(answered - 1), type == 0 ? 0U : 1U);
        }
    }
    EXPECT_TRUE(board.client.queued.empty());
    request(0, end - 1, 512);
    EXPECT_EQ(board.client.queued.size(), 1U);
}

TEST_F(BlockTest, UnknownTypeIsUnsupported) {
    request(77, 0, 512);
    EXPECT_EQ(status(), 2U);
    EXPECT_EQ(used_length(), 1U);
}

TEST_F(BlockTest, FailedReadSaysSoAndClaimsNoBytes) {
    request(0, 0, 512);
    board.client.complete(0, io::Status::IoError);
    board.turn();
    EXPECT_EQ(status(), 1U);
    EXPECT_EQ(used_length(), 0U);
}

TEST_F(BlockTest, ShortReadIsAnError) {
    request(0, 0, 1024);
    board.client.complete(0, io::Status::Ok, 512);
    board.turn();
    EXPECT_EQ(status(), 1U);
}

TEST_F(BlockTest, LargeRequestIsSplitAndCompletesWhenAllPartsHave) {
    constexpr std::uint32_t kBytes = 3 * 65536 + 512;
    for (std::size_t i = 0; i < kBytes; ++i) disk[i] = static_cast<std::byte>(i * 7 >> 3);
    request(0, 0, kBytes);
    ASSERT_EQ(board.client.queued.size(), 4U);
    EXPECT_EQ(board.client.queued[3].length, 512U);
    EXPECT_EQ(board.client.queued[3].offset, 3U * 65536);
    std::swap(board.client.queued[0], board.client.queued[3]);  // completes out of order
    for (int i = 0; i < 3; ++i) {
        auto& part = board.client.queued[0];
        std::memcpy(part.slot.bytes(part.length).data(), disk.data() + part.offset, part.length);
        board.client.complete(0);
        board.turn();
        EXPECT_EQ(queue.used_index(), 0);
    }
    serve();
    EXPECT_EQ(status(), 0U);
    EXPECT_EQ(used_length(), kBytes + 1);
    EXPECT_EQ(0, std::memcmp(guest(kData, kBytes).data(), disk.data(), kBytes));
}

TEST_F(BlockTest, OneFailedPartFailsTheRequest) {
    request(0, 0, 2 * 65536);
    board.client.complete(0, io::Status::IoError);
    board.turn();
    serve();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(status(), 1U);
}

TEST_F(CrampedBlockTest, RequestWithoutSlotsWaitsAndGoesOnInOrder) {
    for (std::size_t i = 0; i < 5 * 65536; ++i) disk[i] = static_cast<std::byte>(i >> 4);
    request(0, 0, 5 * 65536);
    header(4, 0, kHeader + 64);  // a flush behind it must not overtake
    queue.describe(8, kHeader + 64, 16, kNext, 9);
    queue.describe(9, kStatus + 8, 1, kWrite);
    queue.offer(8);
    driver->kick(0);
    board.turn();
    std::size_t rounds = 0;
    for (; queue.used_index() < 2 && rounds < 10; ++rounds) {
        EXPECT_LE(board.client.queued.size(), 3U);
        serve();
    }
    EXPECT_EQ(rounds, 3U);
    EXPECT_EQ(status(), 0U);
    EXPECT_EQ(0, std::memcmp(guest(kData, 5 * 65536).data(), disk.data(), 5 * 65536));
    EXPECT_EQ(queue.used_element(0).id.get() + queue.used_element(1).id.get(), 8U);
    EXPECT_EQ(board.client.slots_in_use(), 0U);
}

TEST_F(BlockTest, FullRequestRingHoldsRequestsBackUntilThereIsRoom) {
    board.client.ring_room = 1;
    request(0, 0, 2 * 65536);
    EXPECT_EQ(board.client.queued.size(), 1U);
    EXPECT_EQ(board.client.slots_in_use(), 1U);
    serve();
    EXPECT_EQ(board.client.queued.size(), 1U);
    serve();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(used_length(), 2U * 65536 + 1);
}

TEST_F(BlockTest, DiscardAndWriteZeroesCarryTheirRange) {
    struct Range {
        std::uint64_t sector;
        std::uint32_t sectors;
        std::uint32_t flags;
    };
    const auto send = [&](std::uint32_t type, const Range& range) {
        board.memory.write_value(GuestAddr{kData}, range).value();
        request(type, 0, 16);
    };
    send(11, {8, 16, 0});
    ASSERT_EQ(board.client.queued.size(), 1U);
    EXPECT_EQ(board.client.queued[0].op, io::Op::Discard);
    EXPECT_EQ(board.client.queued[0].offset, 4096U);
    EXPECT_EQ(board.client.queued[0].length, 8192U);
    serve();
    EXPECT_EQ(status(), 0U);
    send(13, {0, 1, 1});
    EXPECT_EQ(board.client.queued.at(0).op, io::Op::WriteZeroes);
    serve();
    EXPECT_EQ(status(), 0U);
    send(11, {0, 1, 1});  // unmap is not for discard
    EXPECT_EQ(status(), 2U);
    send(13, {kDiskSize / 512, 1, 0});
    EXPECT_EQ(status(), 1U);
    send(11, {0, 0xffffffff, 0});
    EXPECT_EQ(status(), 1U);
    EXPECT_TRUE(board.client.queued.empty());
}

TEST_F(ReadOnlyBlockTest, WritesAreRefusedAndReadsServed) {
    EXPECT_NE(driver->offered() & (1ULL << 5), 0U);
    EXPECT_EQ(driver->offered() & (1ULL << 13 | 1ULL << 14), 0U);
    for (const std::uint32_t type : {1U, 11U, 13U}) {
        request(type, 0, 512);
        EXPECT_EQ(status(), 1U) << type;
    }
    EXPECT_TRUE(board.client.queued.empty());
    request(0, 0, 512);
    EXPECT_EQ(board.client.queued.size(), 1U);
}

TEST_F(BlockTest, HeaderAndStatusMayBeCutAnywhere) {
    header(0, 0);
    queue.describe(0, kHeader, 3, kNext, 1);
    queue.describe(1, kHeader + 3, 13, kNext, 2);
    queue.describe(2, kData, 511, kNext | kWrite, 3);
    queue.describe(3, kData + 511, 2, kWrite);  // the last data byte and the status
    queue.offer(0);
    driver->kick(0);
    board.turn();
    serve();
    EXPECT_EQ(used_length(), 513U);
    EXPECT_EQ(guest(kData + 512, 1)[0], std::byte{0});
}

TEST_F(BlockTest, ChainWithoutHeaderOrStatusMakesTheDeviceAskForReset) {
    queue.describe(0, kHeader, 15, kNext, 1);
    queue.describe(1, kStatus, 1, kWrite);
    queue.offer(0);
    driver->kick(0);
    board.turn();
    EXPECT_TRUE(driver->needs_reset());
    EXPECT_EQ(driver->interrupts(0), 1);
    EXPECT_EQ(queue.used_index(), 0);
}

TEST_F(BlockTest, ResetWaitsForRequestsUnderWayAndStartsAfresh) {
    request(0, 0, 512);
    driver->set_status(0);
    board.turn();
    EXPECT_NE(driver->status(), 0U);
    serve();
    EXPECT_EQ(driver->status(), 0U);
    driver->begin();
    queue = driver->enable(0, 256, kRing);
    driver->finish();
    request(0, 0, 512);
    serve();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(status(), 0U);
}

TEST_F(CrampedBlockTest, ResetDropsTheRequestThatWaitsForSlots) {
    request(0, 0, 5 * 65536);
    driver->set_status(0);
    board.turn();
    serve();
    EXPECT_EQ(driver->status(), 0U);
    EXPECT_EQ(board.client.slots_in_use(), 0U);
    EXPECT_TRUE(block.is_idle());
}

TEST_F(BlockTest, WholeRingOfRequestsIsServed) {
    header(0, 3);
    for (std::uint16_t i = 0; i + 3 <= 255; i = static_cast<std::uint16_t>(i + 3)) {
        queue.describe(i, kHeader, 16, kNext, i + 1U);
        queue.describe(static_cast<std::uint16_t>(i + 1), kData, 512, kNext | kWrite, i + 2U);
        queue.describe(static_cast<std::uint16_t>(i + 2), kStatus, 1, kWrite);
        queue.offer(i);
    }
    driver->kick(0);
    for (int i = 0; i < 8; ++i) {
        board.turn();
        serve();
    }
    EXPECT_EQ(queue.used_index(), 85);
}

}  // namespace
}  // namespace holdfast::virtio
