// SPDX-License-Identifier: Apache-2.0
#include "vmm/bus/bus.hpp"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast::bus {
namespace {

class Recorder final : public Device {
public:
    std::string_view name() const noexcept override { return "recorder"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override {
        offsets.push_back(offset);
        std::ranges::fill(out, std::byte{0x5a});
    }
    void write(std::uint64_t offset, std::span<const std::byte>) noexcept override {
        offsets.push_back(offset);
    }
    std::vector<std::uint64_t> offsets;
};

TEST(Bus, AccessReachesTheDeviceWithItsOffset) {
    Bus bus;
    Recorder device;
    ASSERT_TRUE(bus.add(0x1000, 0x10, device).has_value());
    std::array<std::byte, 4> bytes{};
    EXPECT_TRUE(bus.read(0x100c, bytes));
    EXPECT_EQ(device.offsets, std::vector<std::uint64_t>{0xc});
    EXPECT_EQ(bytes[3], std::byte{0x5a});
}

TEST(Bus, AccessThatLeavesTheWindowReachesNothingAndReadsOnes) {
    Bus bus;
    Recorder device;
    ASSERT_TRUE(bus.add(0x1000, 0x10, device).has_value());
    std::array<std::byte, 4> bytes{};
    for (const std::uint64_t at : {0xfffULL, 0x100dULL, 0x1010ULL, ~0ULL}) {
        EXPECT_FALSE(bus.read(at, bytes)) << at;
        EXPECT_EQ(bytes[0], std::byte{0xff});
    }
    EXPECT_TRUE(device.offsets.empty());
}

TEST(Bus, OddSizesReachNothing) {
    Bus bus;
    Recorder device;
    ASSERT_TRUE(bus.add(0, 0x10, device).has_value());
    std::array<std::byte, 3> bytes{};
    EXPECT_FALSE(bus.read(0, bytes));
    EXPECT_FALSE(bus.write(0, {}));
}

TEST(Bus, OverlapIsRefusedAndChangesNothing) {
    Bus bus;
    Recorder a;
    Recorder b;
    ASSERT_TRUE(bus.add(0x1000, 0x10, a).has_value());
    EXPECT_FALSE(bus.add(0x0ff1, 0x10, b).has_value());
    EXPECT_FALSE(bus.add(0x100f, 1, b).has_value());
    EXPECT_FALSE(bus.add(0, ~0ULL, b).has_value());
    EXPECT_FALSE(bus.add(~0ULL, 2, b).has_value());
    EXPECT_TRUE(bus.add(0x1010, 1, b).has_value());
    EXPECT_TRUE(bus.add(0xff0, 0x10, b).has_value());
}

TEST(Bus, RemovedWindowAnswersNoMore) {
    Bus bus;
    Recorder device;
    ASSERT_TRUE(bus.add(0x1000, 0x10, device).has_value());
    bus.remove(0x1000);
    std::array<std::byte, 1> byte{};
    EXPECT_FALSE(bus.read(0x1000, byte));
}

}  // namespace
}  // namespace holdfast::bus
