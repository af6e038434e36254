// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/iommu.hpp"

#include <gtest/gtest.h>

#include "tests/unit/iommu/fake_space.hpp"
#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

namespace viommu = iommu::virtio;

class Silent final : public viommu::Witness {
public:
    void granted(std::uint32_t, const iommu::Mapping&) noexcept override {}
    void refused(std::uint32_t, const iommu::Mapping&, iommu::Refusal) noexcept override {}
    void revoked(std::uint32_t, iommu::IovaRange, std::uint64_t) noexcept override {}
    void lost() noexcept override {}
};

class IommuDeviceTest : public testing::Test {
protected:
    static constexpr std::uint64_t kRequest = 0x200000;
    static constexpr std::uint64_t kAnswer = 0x201000;

    IommuDeviceTest() {
        service.add_endpoint(0x18, space, 0, {.max_mappings = 100, .max_bytes = 1 << 20});
        board.plug(1, device);
        driver.emplace(board, 1);
        driver->begin();
        queue = driver->enable(0, 128, 0x100000);
        driver->finish();
    }
    /// The status, or -1 for a request that got no answer.
    template <typename T>
    int ask(const T& request, std::uint32_t room = 4) {
        board.memory.write_value(GuestAddr{kRequest}, request).value();
        queue.describe(0, kRequest, sizeof request, spec::DESC_F_NEXT, 1);
        queue.describe(1, kAnswer, room, spec::DESC_F_WRITE);
        const std::uint16_t before = queue.used_index();
        queue.offer(0);
        driver->kick(0);
        board.turn();
        EXPECT_EQ(queue.used_index(), before + 1);
        const std::uint32_t size = queue.used_element(before).len.get();
        return size == 0 ? -1 : board.memory.read_value<std::uint8_t>(GuestAddr{kAnswer + size - 4}).value();
    }
    int attach_and_map() {
        if (const int status = ask(viommu::spec::Attach{.head = {1}, .domain = 1U, .endpoint = 0x18U}))
            return status;
        return ask(viommu::spec::Map{.head = {3},
                                     .domain = 1U,
                                     .virt_start = 0x1000U,
                                     .virt_end = 0x1fffU,
                                     .phys_start = 0x5000U,
                                     .flags = 3U});
    }
    iommu::FakePages pages{kRamSize};
    iommu::FakeSpace space;
    Silent witness;
    viommu::GuestIommu service{pages, witness};
    Board board;
    Iommu device{board.memory, service};
    std::optional<FakeDriver> driver;
    DriverQueue queue;
};

TEST_F(IommuDeviceTest, OffersNoBypassAndAGranuleOfOnePage) {
    EXPECT_EQ(driver->offered() & 0x7f,
              viommu::spec::F_INPUT_RANGE | viommu::spec::F_MAP_UNMAP | viommu::spec::F_PROBE);
    EXPECT_EQ(driver->device_config<std::uint32_t>(0) & 0xfff, 0);
    EXPECT_NE(driver->device_config<std::uint32_t>(0) & 0x1000, 0);
    EXPECT_EQ(driver->device_config<std::uint32_t>(32), viommu::kProbeBytes);
    EXPECT_EQ(driver->device_config<std::uint8_t>(36), 0);
}

TEST_F(IommuDeviceTest, GrantIsMappedWhenItIsAnswered) {
    EXPECT_EQ(attach_and_map(), viommu::spec::S_OK);
    EXPECT_EQ(space.entries_.at(0x1000).size, 0x1000);
    EXPECT_EQ(pages.exposed_[5], 1);
}

TEST_F(IommuDeviceTest, ResetOfTheDeviceTakesAllBack) {
    ASSERT_EQ(attach_and_map(), viommu::spec::S_OK);

    driver->set_status(0);
    board.turn();

    EXPECT_TRUE(space.entries_.empty());
    EXPECT_EQ(pages.exposed_[5], 0);
}

TEST_F(IommuDeviceTest, ProbeNeedsAllItsRoom) {
    const viommu::spec::Probe probe{.head = {5}, .endpoint = 0x18U};
    EXPECT_EQ(ask(probe, viommu::kMostAnswer), viommu::spec::S_OK);
    EXPECT_EQ(board.memory.read_value<std::uint16_t>(GuestAddr{kAnswer}).value(), 1);
    EXPECT_EQ(ask(probe, viommu::kMostAnswer - 1), viommu::spec::S_INVAL);
}

TEST_F(IommuDeviceTest, UnknownRequestsAndMissingRoomGetNothing) {
    EXPECT_EQ(ask(std::uint32_t{0x77}), -1);
    EXPECT_EQ(ask(viommu::spec::Attach{.head = {1}, .domain = 1U, .endpoint = 0x18U}, 3), -1);
    EXPECT_EQ(service.domains(), 0);
    EXPECT_FALSE(driver->needs_reset());
}

}  // namespace
}  // namespace holdfast::virtio
