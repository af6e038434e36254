// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/root_complex.hpp"

#include <array>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "vmm/pci/pvpanic.hpp"

namespace holdfast::pci {
namespace {

class Scratch final : public bus::Device {
public:
    std::string_view name() const noexcept override { return "scratch"; }
    void read(std::uint64_t, std::span<std::byte> out) noexcept override {
        std::ranges::fill(out, std::byte{0x5a});
    }
    void write(std::uint64_t, std::span<const std::byte>) noexcept override { ++writes; }
    int writes = 0;
};

class TestFunction final : public Function {
public:
    TestFunction() : Function{{.vendor = 0x1234, .device = 0x5678, .class_code = 0x123456, .revision = 9}} {
        add_bar(0, 0x1000, BarWidth::Bits32, window);
        add_bar(2, 0x10000, BarWidth::Bits64, window);
        const std::array first{std::byte{0x09}, std::byte{0}, std::byte{0xaa}, std::byte{0xbb},
                               std::byte{0xcc}};
        const std::array mask{std::byte{0}, std::byte{0}, std::byte{0x0f}};
        capabilities[0] = add_capability(first, mask);
        capabilities[1] = add_capability(std::array{std::byte{0x11}, std::byte{0x77}}, {});
    }
    std::string_view name() const noexcept override { return "test"; }
    void bar_moved(unsigned index, std::optional<std::uint64_t> address) noexcept override {
        moves.push_back({index, address});
    }
    Scratch window;
    std::array<std::size_t, 2> capabilities{};
    std::vector<std::pair<unsigned, std::optional<std::uint64_t>>> moves;
};

class RootComplexTest : public testing::Test {
protected:
    static constexpr Window kHigh{0x8000000000, 0x100000000};
    RootComplexTest() {
        EXPECT_TRUE(memory.add(kEcamStart, kEcamSize, root.ecam()).has_value());
        EXPECT_TRUE(root.add(3, function).has_value());
        EXPECT_TRUE(root.add(4, other).has_value());
    }
    template <typename T>
    T read(std::uint64_t offset, unsigned device = 3, unsigned fn = 0) {
        T value{};
        memory.read(kEcamStart + (device << 15 | fn << 12) + offset,
                    std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    template <typename T>
    void write(std::uint64_t offset, T value, unsigned device = 3) {
        memory.write(kEcamStart + (device << 15) + offset, std::as_bytes(std::span{&value, 1}));
    }
    bool answers(std::uint64_t address) {
        std::array<std::byte, 4> bytes{};
        return memory.read(address, bytes) && bytes[0] == std::byte{0x5a};
    }
    bus::Bus memory;
    RootComplex root{memory, {.mmio64 = kHigh}};
    TestFunction function;
    TestFunction other;
};

TEST_F(RootComplexTest, HostBridgeIsTheOneGuestsKnow) {
    EXPECT_EQ(read<std::uint32_t>(0, 0), 0x00081b36U);
    EXPECT_EQ(read<std::uint32_t>(8, 0), 0x06000000U);
}

TEST_F(RootComplexTest, WhatIsNotThereReadsAllOnes) {
    EXPECT_EQ(read<std::uint32_t>(0, 5), 0xffffffffU);
    EXPECT_EQ(read<std::uint32_t>(0, 3, 1), 0xffffffffU);
    EXPECT_EQ(read<std::uint32_t>(0x100), 0xffffffffU);
    EXPECT_EQ(read<std::uint64_t>(0xfc), ~0ULL);  // half inside
    write<std::uint32_t>(0x100, 0);
    write<std::uint64_t>(0xfc, 0);
}

TEST_F(RootComplexTest, EveryBitThatIsNotDeclaredWritableIsReadOnly) {
    std::array<std::uint8_t, 256> before{};
    for (unsigned i = 0; i < 256; ++i) before[i] = read<std::uint8_t>(i);
    for (unsigned i = 0; i < 256; ++i) write<std::uint8_t>(i, 0xff);
    for (unsigned i = 0; i < 256; ++i) {
        std::uint8_t mask = 0;
        if (i == 4) mask = 0x06;
        if (i == 5) mask = 0x04;
        if (i == 0x11) mask = 0xf0;  // 4 KiB
        if (i == 0x12 || i == 0x13) mask = 0xff;
        if (i == 0x1a || i == 0x1b) mask = 0xff;  // 64 KiB
        if (i >= 0x1c && i < 0x20) mask = 0xff;   // its upper half
        if (i == 0x3c) mask = 0xff;
        if (i == function.capabilities[0] + 2) mask = 0x0f;
        EXPECT_EQ(read<std::uint8_t>(i), before[i] | mask) << i;
    }
}

TEST_F(RootComplexTest, CapabilitiesFormAListThatEnds) {
    EXPECT_EQ(read<std::uint16_t>(6) & 0x10, 0x10);
    EXPECT_EQ(read<std::uint8_t>(0x34), function.capabilities[0]);
    EXPECT_EQ(read<std::uint8_t>(function.capabilities[0] + 1), function.capabilities[1]);
    EXPECT_EQ(read<std::uint8_t>(function.capabilities[1] + 1), 0);
    EXPECT_EQ(function.capabilities[1] % 4, 0U);
}

TEST_F(RootComplexTest, BarsAnswerFromTheStartAndTellTheirSize) {
    const auto low = read<std::uint32_t>(0x10);
    EXPECT_GE(low, kMmio32Start);
    EXPECT_TRUE(answers(low));
    EXPECT_EQ(read<std::uint32_t>(0x18) & 0xf, 4U);
    const std::uint64_t high = read<std::uint32_t>(0x18) & ~0xfU;
    EXPECT_TRUE(answers(high | std::uint64_t{read<std::uint32_t>(0x1c)} << 32));
    write<std::uint16_t>(4, 0);
    EXPECT_FALSE(answers(low));
    write<std::uint32_t>(0x10, ~0U);
    EXPECT_EQ(read<std::uint32_t>(0x10), 0xfffff000U);
    write<std::uint32_t>(0x10, low);
    write<std::uint16_t>(4, 2);
    EXPECT_TRUE(answers(low));
}

TEST_F(RootComplexTest, BarMovesAndTheOldPlaceIsEmpty) {
    const auto before = read<std::uint32_t>(0x10);
    function.moves.clear();
    write<std::uint32_t>(0x10, 0xd0000000);
    EXPECT_FALSE(answers(before));
    EXPECT_TRUE(answers(0xd0000000));
    ASSERT_EQ(function.moves.size(), 2U);
    EXPECT_FALSE(function.moves[0].second.has_value());
    EXPECT_EQ(function.moves[1].second, 0xd0000000U);
}

TEST_F(RootComplexTest, BarNeverAnswersOutsideTheWindows) {
    for (const std::uint32_t at : {0x0U, 0x1000U, 0x100000U, 0xbffff000U, 0xe0000000U, 0xe0001000U,
                                   0xfec00000U, 0xfee00000U, 0xfffff000U}) {
        write<std::uint32_t>(0x10, at);
        EXPECT_FALSE(answers(at)) << at;
    }
    const auto put64 = [&](std::uint64_t at) {
        write(0x18, static_cast<std::uint32_t>(at));
        write(0x1c, static_cast<std::uint32_t>(at >> 32));
        return answers(at);
    };
    EXPECT_FALSE(put64(0x100000000));
    EXPECT_FALSE(put64(kHigh.start - 0x10000));
    EXPECT_FALSE(put64(kHigh.start + kHigh.size));
    EXPECT_FALSE(put64(~0ULL << 16));
    EXPECT_TRUE(put64(kHigh.start + kHigh.size - 0x10000));
    EXPECT_TRUE(put64(0xdfff0000));
}

TEST_F(RootComplexTest, OverlappingBarIsSilentUntilTheOtherMovesAway) {
    const auto mine = read<std::uint32_t>(0x10);
    const auto theirs = read<std::uint32_t>(0x10, 4);
    write<std::uint32_t>(0x10, theirs);
    other.window.writes = 0;
    const std::uint32_t word = 1;
    memory.write(theirs, std::as_bytes(std::span{&word, 1}));
    EXPECT_EQ(other.window.writes, 1);
    write<std::uint32_t>(0x10, mine, 4);
    memory.write(theirs, std::as_bytes(std::span{&word, 1}));
    EXPECT_EQ(function.window.writes, 1);
    EXPECT_EQ(other.window.writes, 1);
}

TEST_F(RootComplexTest, PortsReachTheSameRegisters) {
    bus::Bus ports;
    ASSERT_TRUE(ports.add(kConfigPort, kConfigPortSize, root.ports()).has_value());
    const auto out = [&](std::uint64_t port, auto value) {
        ports.write(port, std::as_bytes(std::span{&value, 1}));
    };
    const auto in = [&]<typename T>(std::uint64_t port, T value) {
        ports.read(port, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    };
    EXPECT_EQ(in(0xcfc, std::uint32_t{}), 0xffffffffU);  // not enabled
    out(0xcf8, std::uint32_t{0x80001800});
    EXPECT_EQ(in(0xcf8, std::uint32_t{}), 0x80001800U);
    EXPECT_EQ(in(0xcfc, std::uint32_t{}), 0x56781234U);
    EXPECT_EQ(in(0xcfe, std::uint16_t{}), 0x5678U);
    EXPECT_EQ(in(0xcff, std::uint8_t{}), 0x56U);
    out(0xcf8, std::uint8_t{0});  // not a register of ours
    out(0xcf9, std::uint8_t{6});
    EXPECT_EQ(in(0xcf8, std::uint32_t{}), 0x80001800U);
    out(0xcf8, std::uint32_t{0x80011800});
    EXPECT_EQ(in(0xcfc, std::uint32_t{}), 0xffffffffU);  // bus 1
    out(0xcf8, std::uint32_t{0x8000183c});
    out(0xcfc, std::uint8_t{0x42});
    EXPECT_EQ(read<std::uint8_t>(0x3c), 0x42);
}

TEST_F(RootComplexTest, DeviceNumberIsGivenOnce) {
    TestFunction third;
    EXPECT_FALSE(root.add(3, third).has_value());
    EXPECT_FALSE(root.add(0, third).has_value());
    EXPECT_FALSE(root.add(32, third).has_value());
}

TEST(RootComplex, FullWindowIsAnError) {
    bus::Bus memory;
    RootComplex root{memory, {.mmio32 = {0xc0000000, 0x10000}, .mmio64 = {}}};
    TestFunction function;
    EXPECT_FALSE(root.add(1, function).has_value());  // 4 KiB fit, then 64 KiB aligned do not
}

TEST(Pvpanic, EventsAreReportedOnce) {
    bus::Bus memory;
    RootComplex root{memory, {}};
    std::vector<Pvpanic::Event> events;
    Pvpanic pvpanic{[&](Pvpanic::Event event) { events.push_back(event); }};
    ASSERT_TRUE(root.add(1, pvpanic).has_value());
    const auto put = [&](std::uint64_t offset, std::uint8_t value) {
        memory.write(kMmio32Start + offset, std::as_bytes(std::span{&value, 1}));
    };
    std::uint8_t supported = 0;
    memory.read(kMmio32Start, std::as_writable_bytes(std::span{&supported, 1}));
    EXPECT_EQ(supported, 3);
    put(0, 0);
    put(1, 1);
    put(0, 0xfc);
    EXPECT_TRUE(events.empty());
    put(0, 1);
    put(0, 2);
    EXPECT_EQ(events, (std::vector{Pvpanic::Event::Panicked, Pvpanic::Event::CrashLoaded}));
}

}  // namespace
}  // namespace holdfast::pci
