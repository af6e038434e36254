// SPDX-License-Identifier: Apache-2.0
// The driver here does what Linux' drivers/tty/serial/8250 does, register by register.
#include "vmm/legacy/serial.hpp"

#include <array>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace holdfast::legacy {
namespace {

enum : std::uint64_t {
    RBR = 0,
    THR = 0,
    IER = 1,
    IIR = 2,
    FCR = 2,
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7
};

class Collector final : public ConsoleSink {
public:
    bool ready() const noexcept override { return open; }
    std::size_t write(std::span<const std::byte> bytes) noexcept override {
        if (!open) return 0;
        for (const std::byte byte : bytes) text.push_back(std::to_integer<char>(byte));
        return bytes.size();
    }
    void input_room() noexcept override { ++room_calls; }
    bool open = true;
    std::string text;
    int room_calls = 0;
};

class SerialTest : public testing::Test {
protected:
    std::uint8_t in(std::uint64_t at) {
        std::byte value{};
        serial.read(at, {&value, 1});
        return std::to_integer<std::uint8_t>(value);
    }
    void out(std::uint64_t at, std::uint8_t value) {
        const std::byte byte{value};
        serial.write(at, {&byte, 1});
    }
    std::size_t type(std::string_view text) { return serial.receive(std::as_bytes(std::span{text})); }
    bool interrupted() { return line.event().drain(); }

    irq::Line line{EventFd::create().value()};
    Collector sink;
    Serial serial{line, sink};
};

TEST_F(SerialTest, WrittenBytesReachTheSinkInOrder) {
    for (const char c : {'o', 'k'}) out(THR, static_cast<std::uint8_t>(c));
    EXPECT_EQ(sink.text, "ok");
}

TEST_F(SerialTest, LineStatusIsEmptyFromTheStart) { EXPECT_EQ(in(LSR), 0x60); }

TEST_F(SerialTest, ScratchAndDivisorReadBack) {
    out(SCR, 0x5a);
    out(LCR, 0x83);
    out(THR, 0x01);
    out(IER, 0x02);
    EXPECT_EQ(in(RBR), 0x01);
    EXPECT_EQ(in(IER), 0x02);
    out(LCR, 0x03);
    EXPECT_EQ(in(IER), 0);
    EXPECT_EQ(in(SCR), 0x5a);
    EXPECT_EQ(sink.text, "");
}

TEST_F(SerialTest, InterruptEnableKeepsOnlyItsFourBits) {
    out(IER, 0xff);
    EXPECT_EQ(in(IER), 0x0f);
}

// autoconfig(): presence, loopback, then the FIFO bits that tell a 16550A.
TEST_F(SerialTest, LinuxFindsA16550A) {
    out(MCR, 0x10 | 0x0a);
    EXPECT_EQ(in(MSR) & 0xf0, 0x90);
    out(MCR, 0);
    EXPECT_EQ(in(MSR) & 0xf0, 0xb0);
    EXPECT_EQ(in(IIR), 0x01);
    out(FCR, 0x01);
    EXPECT_EQ(in(IIR) >> 6, 3);
    out(FCR, 0x21);  // a 16750 would answer with bit 5
    EXPECT_EQ(in(IIR) >> 5, 6);
}

// serial8250_do_startup(): without the second interrupt Linux calls the port buggy and polls it.
TEST_F(SerialTest, EnablingTheTransmitInterruptAgainRaisesItAgain) {
    out(IER, 0x02);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0x02);
    EXPECT_EQ(in(IIR), 0x01);
    out(IER, 0);
    EXPECT_FALSE(interrupted());
    out(IER, 0x02);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0x02);
}

TEST_F(SerialTest, SixteenBytesWrittenAskForMoreOnce) {
    out(FCR, 0x01);
    out(IER, 0x02);
    EXPECT_EQ(in(IIR), 0xc2);
    (void)interrupted();
    for (int i = 0; i < 16; ++i) out(THR, 'x');
    std::uint64_t edges = 0;
    ASSERT_EQ(::read(line.event().fd().get(), &edges, sizeof edges), 8);
    EXPECT_EQ(edges, 1U);
    EXPECT_EQ(in(IIR), 0xc2);
    EXPECT_EQ(in(IIR), 0xc1);
}

TEST_F(SerialTest, InputInterruptsAndIsReadInOrder) {
    out(FCR, 0x81);  // trigger level 8
    out(IER, 0x01);
    EXPECT_EQ(type("ab"), 2U);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0xcc) << "below the trigger level: character timeout";
    EXPECT_EQ(in(LSR), 0x61);
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_EQ(in(RBR), 'b');
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_EQ(in(IIR), 0xc1);
    EXPECT_EQ(type("12345678"), 8U);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0xc4);
}

TEST_F(SerialTest, InputBeforeTheInterruptIsEnabledRaisesItThen) {
    EXPECT_EQ(type("a"), 1U);
    EXPECT_FALSE(interrupted());
    out(IER, 0x01);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0x04);
}

TEST_F(SerialTest, InputBeyondTheFifoWaitsUntilItIsEmpty) {
    out(FCR, 0x01);
    EXPECT_EQ(type("0123456789abcdefXY"), 16U);
    for (int i = 0; i < 15; ++i) (void)in(RBR);
    EXPECT_EQ(sink.room_calls, 0);
    EXPECT_EQ(in(RBR), 'f');
    EXPECT_EQ(sink.room_calls, 1);
    EXPECT_EQ(type("XY"), 2U);
    EXPECT_EQ(in(RBR), 'X');
}

TEST_F(SerialTest, WithoutFifoOneByteFits) {
    EXPECT_EQ(type("ab"), 1U);
    EXPECT_EQ(type("b"), 0U);
    EXPECT_EQ(in(RBR), 'a');
    EXPECT_EQ(sink.room_calls, 1);
}

TEST_F(SerialTest, ClearingTheFifoDropsInputAndAsksForMore) {
    out(FCR, 0x01);
    EXPECT_EQ(type("0123456789abcdefX"), 16U);
    out(FCR, 0x03);
    EXPECT_EQ(in(LSR), 0x60);
    EXPECT_EQ(sink.room_calls, 1);
}

TEST_F(SerialTest, LoopbackReturnsBytesAndReportsOverrun) {
    out(MCR, 0x10);
    out(THR, 'a');
    out(THR, 'b');
    EXPECT_EQ(sink.text, "");
    EXPECT_EQ(in(LSR), 0x63);
    EXPECT_EQ(in(LSR), 0x61) << "reading clears the overrun";
    EXPECT_EQ(in(RBR), 'a');
}

TEST_F(SerialTest, LoopbackRefusesInputUntilItEnds) {
    out(MCR, 0x10);
    EXPECT_EQ(type("a"), 0U);
    EXPECT_EQ(sink.room_calls, 0);
    out(MCR, 0x00);
    EXPECT_EQ(sink.room_calls, 1);
    EXPECT_EQ(type("a"), 1U);
}

TEST_F(SerialTest, ModemChangesInLoopbackInterruptOnce) {
    out(MCR, 0x10);
    (void)in(MSR);
    out(IER, 0x08);
    out(MCR, 0x14);
    EXPECT_FALSE(interrupted()) << "RI rising is not reported";
    out(MCR, 0x11);
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0x00);
    EXPECT_EQ(in(MSR), 0x26) << "DSR set and changed, RI fell";
    EXPECT_EQ(in(IIR), 0x01);
}

TEST_F(SerialTest, FullSinkMakesAPollingDriverWaitAndRaisesWhenReady) {
    out(IER, 0x02);
    (void)in(IIR);
    (void)interrupted();
    sink.open = false;
    EXPECT_EQ(in(LSR), 0x00);
    out(THR, 'x');
    EXPECT_EQ(serial.dropped(), 1U);
    EXPECT_FALSE(interrupted());
    sink.open = true;
    serial.output_ready();
    EXPECT_TRUE(interrupted());
    EXPECT_EQ(in(IIR), 0x02);
    EXPECT_EQ(in(LSR), 0x60);
}

TEST_F(SerialTest, WideAccessTouchesEachRegisterOnce) {
    const std::array<std::byte, 2> wide{std::byte{'h'}, std::byte{0x01}};
    serial.write(THR, wide);
    EXPECT_EQ(sink.text, "h");
    EXPECT_EQ(in(IER), 0x01);
    std::array<std::byte, 8> all{};
    serial.read(0, all);
    EXPECT_EQ(all[5], std::byte{0x60});
}

}  // namespace
}  // namespace holdfast::legacy
