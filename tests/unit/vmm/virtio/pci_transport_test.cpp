// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/pci_transport.hpp"

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"
#include "vmm/virtio/rng.hpp"
#include "vmm/virtio/vsock.hpp"

namespace holdfast::virtio {
namespace {

constexpr unsigned kUpToFeatures = spec::ACKNOWLEDGE | spec::DRIVER | spec::FEATURES_OK;

class TransportTest : public testing::Test {
protected:
    TransportTest() : rng{board.memory} {
        transport = &board.plug(1, rng);
        driver.emplace(board, 1);
    }
    DriverQueue start() {
        driver->begin();
        auto queue = driver->enable(0, 16, 0x100000);
        driver->finish();
        return queue;
    }
    void ask(DriverQueue& queue) {
        queue.describe(0, 0x200000, 8, spec::DESC_F_WRITE);
        queue.offer(0);
    }
    Board board;
    Rng rng;
    PciTransport* transport = nullptr;
    std::optional<FakeDriver> driver;
};

TEST_F(TransportTest, FunctionIsAModernDevice) {
    EXPECT_EQ(driver->config<std::uint16_t>(0), 0x1af4);
    EXPECT_EQ(driver->config<std::uint16_t>(2), 0x1044);
    EXPECT_GE(driver->config<std::uint8_t>(8), 1);
    EXPECT_TRUE(driver->structures.contains(spec::PCI_CAP_COMMON_CFG));
    EXPECT_TRUE(driver->structures.contains(spec::PCI_CAP_NOTIFY_CFG));
    EXPECT_TRUE(driver->structures.contains(spec::PCI_CAP_ISR_CFG));
    EXPECT_TRUE(driver->structures.contains(spec::PCI_CAP_PCI_CFG));
    EXPECT_FALSE(driver->structures.contains(spec::PCI_CAP_DEVICE_CFG));  // it has none
    EXPECT_NE(driver->msix, 0U);
    EXPECT_EQ(driver->offered(), spec::F_VERSION_1 | spec::F_INDIRECT_DESC | spec::F_EVENT_IDX);
    EXPECT_EQ(driver->common<std::uint16_t>(18), 1);
}

TEST_F(TransportTest, FeaturesAreRefusedWithoutVersion1OrBeyondTheOffer) {
    for (const std::uint64_t features : {std::uint64_t{0}, spec::F_EVENT_IDX, spec::F_VERSION_1 | 1,
                                         spec::F_VERSION_1 | spec::F_ACCESS_PLATFORM, ~std::uint64_t{0}}) {
        driver->set_status(0);
        driver->set_status(spec::ACKNOWLEDGE | spec::DRIVER);
        driver->accept(features);
        driver->set_status(kUpToFeatures);
        EXPECT_EQ(driver->status(), spec::ACKNOWLEDGE | spec::DRIVER) << features;
        driver->set_status(kUpToFeatures | spec::DRIVER_OK);
        EXPECT_EQ(driver->status() & spec::DRIVER_OK, 0) << features;
    }
}

TEST(TransportOptions, AccessPlatformIsOfferedAndThenRequired) {
    Board board;
    Rng rng{board.memory};
    board.plug(1, rng, {.access_platform = true});
    FakeDriver driver{board, 1};
    EXPECT_NE(driver.offered() & spec::F_ACCESS_PLATFORM, 0U);
    driver.begin(spec::F_VERSION_1);
    EXPECT_EQ(driver.status() & spec::FEATURES_OK, 0);
    driver.begin(spec::F_VERSION_1 | spec::F_ACCESS_PLATFORM);
    EXPECT_NE(driver.status() & spec::FEATURES_OK, 0);
}

TEST(TransportOptions, KickAndStatusOfADeviceWithoutThreadAreAttendedBeforeTheAccessEnds) {
    Board board;
    Rng rng{board.memory};
    PciTransport* transport = nullptr;
    int times = 0;
    transport = &board.plug(1, rng, {.attend = [&] {
                                ++times;
                                transport->settle();
                                transport->run();
                                transport->publish();
                            }});
    EXPECT_TRUE(board.bells.bells.empty());  // no write ends in the kernel
    FakeDriver driver{board, 1};
    EXPECT_EQ(driver.offered() & spec::F_EVENT_IDX, 0U);  // nor is a kick suppressed
    driver.begin();
    DriverQueue queue = driver.enable(0, 8, 0x100000);
    EXPECT_EQ(times, 0);
    driver.finish();
    EXPECT_EQ(times, 1);
    queue.describe(0, 0x200000, 16, spec::DESC_F_WRITE);
    queue.offer(0);
    driver.kick(0);
    EXPECT_EQ(times, 2);
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(queue.used_flags(), 0);
    driver.set_status(0);
    EXPECT_EQ(driver.status(), 0);
}

TEST_F(TransportTest, FeaturesCannotChangeOnceAccepted) {
    driver->begin(spec::F_VERSION_1);
    driver->accept(0);
    driver->set_common<std::uint32_t>(8, 1);
    EXPECT_EQ(driver->common<std::uint32_t>(12), 1U);
}

TEST_F(TransportTest, QueueWorksByDoorbellAndByExit) {
    auto queue = start();
    ask(queue);
    ASSERT_TRUE(board.bells.ring(driver->bell(0)));
    board.turn();
    EXPECT_EQ(queue.used_index(), 1);
    EXPECT_EQ(driver->interrupts(1), 1);
    ask(queue);
    driver->write<std::uint32_t>(driver->bell(0), 0);
    board.turn();
    EXPECT_EQ(queue.used_index(), 2);
}

TEST(TransportDoorbells, RefusedDoorbellsLeaveTheDeviceWorking) {
    Board board;
    board.bells.refuse = true;
    Rng rng{board.memory};
    board.plug(1, rng);
    FakeDriver driver{board, 1};
    driver.begin();
    auto queue = driver.enable(0, 16, 0x100000);
    driver.finish();
    queue.describe(0, 0x200000, 8, spec::DESC_F_WRITE);
    queue.offer(0);
    driver.kick(0);
    board.turn();
    EXPECT_EQ(queue.used_index(), 1);
}

TEST_F(TransportTest, DoorbellsFollowTheBar) {
    const std::uint64_t before = driver->bell(0);
    EXPECT_EQ(board.bells.bells.at(0).address, before);
    driver->set_config<std::uint32_t>(0x10, 0xd0000000);
    ASSERT_EQ(board.bells.bells.size(), 1U);
    EXPECT_EQ(board.bells.bells[0].address, 0xd0000000 + (before & 0x3fff));
    driver->set_config<std::uint16_t>(4, 0);
    EXPECT_TRUE(board.bells.bells.empty());
}

TEST_F(TransportTest, IsrTellsWhatHappenedAndReadingClearsIt) {
    auto queue = start();
    ask(queue);
    driver->kick(0);
    board.turn();
    const std::uint64_t isr = driver->structures.at(spec::PCI_CAP_ISR_CFG);
    EXPECT_EQ(driver->read<std::uint8_t>(isr), spec::ISR_QUEUE);
    EXPECT_EQ(driver->read<std::uint8_t>(isr), 0);
}

TEST_F(TransportTest, BrokenRingAsksForResetWithAConfigurationInterrupt) {
    auto queue = start();
    queue.put16(queue.available + 2, 1000);
    driver->kick(0);
    board.turn();
    EXPECT_TRUE(driver->needs_reset());
    EXPECT_EQ(driver->interrupts(0), 1);
    for (int i = 0; i < 100; ++i) {  // and stays quiet whatever the driver does
        driver->kick(0);
        board.turn();
    }
    EXPECT_EQ(driver->interrupts(0), 1);
    EXPECT_EQ(queue.used_index(), 0);
    queue = start();
    EXPECT_FALSE(driver->needs_reset());
    ask(queue);
    driver->kick(0);
    board.turn();
    EXPECT_EQ(queue.used_index(), 1);
}

TEST_F(TransportTest, QueueInTheWrongPlaceAsksForResetAtDriverOk) {
    driver->begin();
    driver->set_common<std::uint64_t>(32, 0xe0000000);
    driver->set_common<std::uint16_t>(28, 1);
    driver->finish();
    EXPECT_TRUE(driver->needs_reset());
    EXPECT_EQ(driver->interrupts(0), 1);
    start();
    EXPECT_FALSE(driver->needs_reset());
}

TEST_F(TransportTest, QueueSizesThatCannotBeAreIgnored) {
    for (const unsigned size : {0U, 3U, 17U, 32U, 0x8000U, 0xffffU}) {
        driver->set_common(24, static_cast<std::uint16_t>(size));
        EXPECT_EQ(driver->common<std::uint16_t>(24), 16) << size;
    }
    driver->set_common<std::uint16_t>(24, 8);
    EXPECT_EQ(driver->common<std::uint16_t>(24), 8);
    driver->set_common<std::uint16_t>(22, 1);  // no such queue
    EXPECT_EQ(driver->common<std::uint16_t>(24), 0);
    driver->set_common<std::uint16_t>(24, 8);
    driver->set_common<std::uint16_t>(28, 1);
    EXPECT_EQ(driver->common<std::uint16_t>(28), 0);
}

TEST_F(TransportTest, EnabledQueueCannotBeChanged) {
    start();
    driver->set_common<std::uint64_t>(32, 0x500000);
    driver->set_common<std::uint16_t>(24, 4);
    driver->set_common<std::uint16_t>(28, 0);
    EXPECT_EQ(driver->common<std::uint64_t>(32), 0x100000U);
    EXPECT_EQ(driver->common<std::uint16_t>(24), 16);
    EXPECT_EQ(driver->common<std::uint16_t>(28), 1);
}

TEST_F(TransportTest, HalvesOfAnAddressAreWrittenOneByOne) {
    driver->set_common<std::uint32_t>(32 + 4, 0x11223344);
    driver->set_common<std::uint32_t>(32, 0x55667788);
    EXPECT_EQ(driver->common<std::uint64_t>(32), 0x1122334455667788U);
    driver->set_common<std::uint64_t>(36, ~0ULL);  // across two fields
    driver->set_common<std::uint16_t>(34, 0);
    EXPECT_EQ(driver->common<std::uint64_t>(32), 0x1122334455667788U);
    EXPECT_EQ(driver->common<std::uint64_t>(40), 0U);
}

TEST_F(TransportTest, VectorThatDoesNotExistReadsBackAsNone) {
    driver->set_common<std::uint16_t>(16, 2);
    EXPECT_EQ(driver->common<std::uint16_t>(16), spec::NO_VECTOR);
    driver->set_common<std::uint16_t>(16, 1);
    EXPECT_EQ(driver->common<std::uint16_t>(16), 1);
    driver->set_common<std::uint16_t>(26, 0xfffe);
    EXPECT_EQ(driver->common<std::uint16_t>(26), spec::NO_VECTOR);
}

TEST_F(TransportTest, ResetForgetsEverything) {
    start();
    driver->set_status(0);
    board.turn();
    EXPECT_EQ(driver->status(), 0);
    EXPECT_EQ(driver->common<std::uint64_t>(32), 0U);
    EXPECT_EQ(driver->common<std::uint16_t>(28), 0);
    EXPECT_EQ(driver->common<std::uint16_t>(16), spec::NO_VECTOR);
    EXPECT_FALSE(transport->is_running());
}

TEST_F(TransportTest, ConfigurationWindowReachesTheRegisters) {
    const unsigned window = driver->capabilities.at(spec::PCI_CAP_PCI_CFG);
    const auto aim = [&](std::uint8_t bar, std::uint32_t offset, std::uint32_t length) {
        driver->set_config(window + 4, bar);
        driver->set_config(window + 8, offset);
        driver->set_config(window + 12, length);
    };
    aim(0, 20, 1);
    driver->set_config<std::uint8_t>(window + 16, spec::ACKNOWLEDGE);
    EXPECT_EQ(driver->status(), spec::ACKNOWLEDGE);
    aim(0, 18, 2);
    EXPECT_EQ(driver->config<std::uint16_t>(window + 16), 1);
    struct Aim {
        std::uint8_t bar;
        std::uint32_t offset;
        std::uint32_t length;
    };
    for (const auto& [bar, offset, length] :
         {Aim{1, 0, 4}, Aim{6, 0, 4}, Aim{0, 0x4000, 4}, Aim{0, 0x3ffe, 4}, Aim{0, 0xffffffff, 1},
          Aim{0, 0xfffffffc, 4}, Aim{0, 1, 4}, Aim{0, 20, 0}, Aim{0, 0, 3}, Aim{0, 0, 8},
          Aim{0, 0, 0xffffffff}}) {
        aim(bar, offset, length);
        driver->set_config<std::uint32_t>(window + 16, 0x80);
        EXPECT_EQ(driver->config<std::uint32_t>(window + 16), 0x80U) << offset;  // no register behind it
        EXPECT_EQ(driver->status(), spec::ACKNOWLEDGE);
    }
}

TEST_F(TransportTest, AccessesOfEverySizeEverywhereAreHarmless) {
    start();
    for (std::uint64_t at = 0; at < 0x4000; ++at) {
        const std::uint64_t address = (driver->structures.at(spec::PCI_CAP_COMMON_CFG)) + at;
        static_cast<void>(driver->read<std::uint8_t>(address));
        static_cast<void>(driver->read<std::uint64_t>(address));
        if (at == 20) continue;  // status: another test
        driver->write<std::uint8_t>(address, 0xff);
        driver->write<std::uint16_t>(address, 0xffff);
        driver->write<std::uint64_t>(address, ~0ULL);
    }
    board.turn();
}

TEST(TransportQueues, QueuesTheDriverLeavesOutStayInert) {
    Board board;
    Vsock vsock{board.memory, board.client, 3};
    board.plug(1, vsock);
    FakeDriver driver{board, 1};
    driver.begin();
    driver.enable(1, 16, 0x100000);
    driver.finish();
    driver.kick(0);
    driver.kick(2);
    board.turn();
    EXPECT_FALSE(driver.needs_reset());
    EXPECT_EQ(driver.device_config<std::uint64_t>(0), 3U);
}

}  // namespace
}  // namespace holdfast::virtio
