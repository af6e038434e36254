// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/power.hpp"

#include <array>

#include <gtest/gtest.h>

namespace holdfast::legacy {
namespace {

class Requests final : public PowerRequests {
public:
    void power_off_requested() noexcept override { ++power_offs; }
    void reset_requested() noexcept override { ++resets; }
    int power_offs = 0;
    int resets = 0;
};

class PowerTest : public testing::Test {
protected:
    void out(bus::Device& device, std::uint64_t at, std::uint8_t value) {
        const std::byte byte{value};
        device.write(at, {&byte, 1});
    }
    std::uint32_t events() {
        std::array<std::byte, 4> bytes{};
        power.read(kEventOffset, bytes);
        return std::to_integer<std::uint32_t>(bytes[0]) | std::to_integer<std::uint32_t>(bytes[1]) << 8 |
               std::to_integer<std::uint32_t>(bytes[2]) << 16 |
               std::to_integer<std::uint32_t>(bytes[3]) << 24;
    }
    irq::Line line{EventFd::create().value()};
    Requests requests;
    Power power{line, requests};
    KeyboardReset keyboard{requests};
};

// What Linux' acpi_hw_extended_sleep() writes.
TEST_F(PowerTest, SleepEnableWithS5PowersOff) {
    out(power, kSleepControlOffset, 1U << 5 | kSleepTypeS5 << 2);
    EXPECT_EQ(requests.power_offs, 1);
    EXPECT_EQ(requests.resets, 0);
}

TEST_F(PowerTest, OtherSleepTypesAndMissingEnableDoNothing) {
    for (unsigned value = 0; value < 256; ++value) {
        if ((value & 0x20) != 0 && ((value >> 2) & 7) == kSleepTypeS5) continue;
        out(power, kSleepControlOffset, static_cast<std::uint8_t>(value));
    }
    EXPECT_EQ(requests.power_offs, 0);
}

TEST_F(PowerTest, OnlyTheResetValueResets) {
    for (unsigned value = 0; value < 256; ++value) out(power, kResetOffset, static_cast<std::uint8_t>(value));
    EXPECT_EQ(requests.resets, 1);
    EXPECT_EQ(requests.power_offs, 0);
}

TEST_F(PowerTest, ButtonSetsItsBitAndInterruptsAndAReadClears) {
    EXPECT_EQ(events(), 0U);
    power.press_button();
    EXPECT_TRUE(line.event().drain());
    EXPECT_EQ(events(), 1U << kPowerButtonBit);
    EXPECT_EQ(events(), 0U);
    EXPECT_FALSE(line.event().drain());
}

TEST_F(PowerTest, EventRegisterIgnoresWrites) {
    out(power, kEventOffset, 0xff);
    EXPECT_EQ(events(), 0U);
    power.press_button();
    out(power, kEventOffset, 0xff);
    EXPECT_EQ(events(), 1U);
}

TEST_F(PowerTest, EightByteReadSeesStatusZeroAndTheEvent) {
    power.press_button();
    std::array<std::byte, 8> all{};
    power.read(0, all);
    EXPECT_EQ(all, (std::array<std::byte, 8>{{{}, {}, {}, {}, std::byte{1}, {}, {}, {}}}));
}

TEST_F(PowerTest, KeyboardPortTakesOnlyTheResetPulse) {
    for (unsigned value = 0; value < 256; ++value) out(keyboard, 0, static_cast<std::uint8_t>(value));
    EXPECT_EQ(requests.resets, 1);
    std::array<std::byte, 1> status{};
    keyboard.read(0, status);
    EXPECT_EQ(status[0] & std::byte{0x02}, std::byte{0}) << "Linux would wait for the input buffer";
    EXPECT_EQ(status[0] & std::byte{0x01}, std::byte{1}) << "Linux would wait half a second for an answer";
}

}  // namespace
}  // namespace holdfast::legacy
