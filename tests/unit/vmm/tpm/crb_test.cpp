// SPDX-License-Identifier: Apache-2.0
#include "vmm/tpm/crb.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "sys/wire/endian.hpp"

namespace holdfast::tpm {
namespace {

enum : std::uint64_t {
    LOC_STATE = 0x00,
    LOC_CTRL = 0x08,
    LOC_STS = 0x0c,
    INTF_ID = 0x30,
    CTRL_REQ = 0x40,
    CTRL_STS = 0x44,
    CTRL_CANCEL = 0x48,
    CTRL_START = 0x4c,
    CMD_SIZE = 0x58,
    CMD_LADDR = 0x5c,
    RSP_SIZE = 0x64,
    RSP_ADDR = 0x68,
};
constexpr std::uint32_t kCmdReady = 1;
constexpr std::uint32_t kGoIdle = 2;
constexpr std::uint32_t kIdle = 2;  // of CTRL_STS
constexpr std::uint32_t kError = 1;

class CountingQueue final : public CommandQueue {
public:
    void command_started() noexcept override { ++started; }
    void cancel_requested() noexcept override { ++cancelled; }
    int started = 0;
    int cancelled = 0;
};

/// A driver that does what Linux' tpm_crb does.
class CrbTest : public testing::Test {
protected:
    std::uint32_t get(std::uint64_t offset) {
        Le<std::uint32_t> value;
        crb.read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value.get();
    }
    void set(std::uint64_t offset, std::uint32_t value) {
        const Le<std::uint32_t> raw{value};
        crb.write(offset, std::as_bytes(std::span{&raw, 1}));
    }
    void make_ready() {
        set(LOC_CTRL, 1);
        set(CTRL_REQ, kCmdReady);
    }
    void start() {
        make_ready();
        set(CTRL_START, 1);
    }
    std::vector<std::byte> bytes(std::size_t count, int value) { return {count, std::byte(value)}; }

    std::array<std::byte, kCrbBufferSize> buffer{};
    CountingQueue queue;
    Crb crb{buffer, queue};
};

TEST_F(CrbTest, AfterResetItIsIdleAndNobodysAndSaysWhatItIs) {
    EXPECT_EQ(get(LOC_STATE), 0x81U);  // valid, no dynamic launch, not assigned
    EXPECT_EQ(get(LOC_STS), 0U);
    EXPECT_EQ(get(CTRL_STS), kIdle);
    EXPECT_EQ(get(CTRL_START), 0U);
    EXPECT_EQ(get(INTF_ID) & 0xff, 0x11U);  // CRB is active, version 1
    EXPECT_EQ(get(INTF_ID) & 1U << 8, 0U);  // locality 0 only
}

TEST_F(CrbTest, BuffersAreTheOnePageBehindTheRegisters) {
    EXPECT_EQ(get(CMD_LADDR), 0xfed41000U);
    EXPECT_EQ(get(CMD_LADDR + 4), 0U);
    EXPECT_EQ(get(RSP_ADDR), 0xfed41000U);
    EXPECT_EQ(get(RSP_ADDR + 4), 0U);
    EXPECT_EQ(get(CMD_SIZE), 4096U);
    EXPECT_EQ(get(RSP_SIZE), 4096U);
}

TEST_F(CrbTest, LocalityIsGrantedAndGivenBack) {
    set(LOC_CTRL, 1);
    EXPECT_EQ(get(LOC_STATE), 0x83U);
    EXPECT_EQ(get(LOC_STS), 1U);
    set(LOC_CTRL, 2);
    EXPECT_EQ(get(LOC_STATE), 0x81U);
    EXPECT_EQ(get(LOC_STS), 0U);
}

TEST_F(CrbTest, CommandRunsFromStartToCompletion) {
    make_ready();
    EXPECT_EQ(get(CTRL_STS), 0U);
    buffer[0] = std::byte{0x80};
    set(CTRL_START, 1);
    EXPECT_EQ(queue.started, 1);
    EXPECT_EQ(get(CTRL_START), 1U);
    std::array<std::byte, kCrbBufferSize> copy{};
    crb.take_command(copy);
    EXPECT_EQ(copy[0], std::byte{0x80});

    crb.complete(bytes(10, 0x55));

    EXPECT_EQ(get(CTRL_START), 0U);
    EXPECT_EQ(get(CTRL_STS), 0U);
    EXPECT_EQ(buffer[9], std::byte{0x55});
    EXPECT_EQ(buffer[10], std::byte{0});
    set(CTRL_REQ, kGoIdle);
    EXPECT_EQ(get(CTRL_STS), kIdle);
    EXPECT_EQ(get(CTRL_REQ), 0U);
}

TEST_F(CrbTest, StartIsIgnoredWhenIdleOrWithoutLocalityOrAgain) {
    set(CTRL_START, 1);
    set(LOC_CTRL, 1);
    set(CTRL_START, 1);
    set(LOC_CTRL, 2);
    set(CTRL_REQ, kCmdReady);
    set(CTRL_START, 1);
    EXPECT_EQ(queue.started, 0);
    set(LOC_CTRL, 1);
    set(CTRL_START, 0);
    EXPECT_EQ(queue.started, 0);
    set(CTRL_START, 1);
    set(CTRL_START, 1);
    EXPECT_EQ(queue.started, 1);
}

TEST_F(CrbTest, LargestResponseFillsTheBuffer) {
    start();
    crb.complete(bytes(kCrbBufferSize, 0x77));
    EXPECT_EQ(buffer.back(), std::byte{0x77});
}

TEST_F(CrbTest, CancelReachesTheTpmOnlyWhileACommandRuns) {
    make_ready();
    set(CTRL_CANCEL, 1);
    EXPECT_EQ(get(CTRL_CANCEL), 1U);
    EXPECT_EQ(queue.cancelled, 0);
    set(CTRL_CANCEL, 0);
    EXPECT_EQ(get(CTRL_CANCEL), 0U);
    set(CTRL_START, 1);
    set(CTRL_CANCEL, 1);
    EXPECT_EQ(queue.cancelled, 1);
    EXPECT_EQ(get(CTRL_START), 1U) << "until the TPM has answered";
}

// Else a driver that has given up would take this command's response for its next one's.
TEST_F(CrbTest, IdleWhileACommandRunsComesWhenItHasEndedAndDropsItsResponse) {
    start();
    set(CTRL_REQ, kGoIdle);
    EXPECT_EQ(queue.cancelled, 1);
    EXPECT_EQ(get(CTRL_REQ), kGoIdle);
    EXPECT_EQ(get(CTRL_STS), 0U);

    crb.complete(bytes(10, 0x55));

    EXPECT_EQ(get(CTRL_REQ), 0U);
    EXPECT_EQ(get(CTRL_STS), kIdle);
    EXPECT_EQ(buffer[0], std::byte{0});
}

TEST_F(CrbTest, ReadinessAskedForWhileACommandRunsChangesNothing) {
    start();
    set(CTRL_REQ, kCmdReady);
    EXPECT_EQ(get(CTRL_START), 1U);
    EXPECT_EQ(queue.cancelled, 0);
}

TEST_F(CrbTest, IdleAndReadyAtOnceIsNoRequest) {
    set(CTRL_REQ, kCmdReady | kGoIdle);
    EXPECT_EQ(get(CTRL_STS), kIdle);
}

TEST_F(CrbTest, LostTpmEndsTheCommandWithAFatalErrorThatStays) {
    start();
    crb.fail(bytes(10, 0x11));
    EXPECT_EQ(get(CTRL_START), 0U);
    EXPECT_EQ(get(CTRL_STS), kError);
    EXPECT_EQ(buffer[0], std::byte{0x11});
    set(CTRL_START, 1);
    EXPECT_EQ(get(CTRL_START), 0U);
    EXPECT_EQ(queue.started, 1);
    set(CTRL_REQ, kGoIdle);
    EXPECT_EQ(get(CTRL_STS), kError | kIdle);
}

TEST_F(CrbTest, CompletionThatNobodyWaitsForChangesNothing) {
    crb.complete(bytes(10, 0x11));
    EXPECT_EQ(buffer[0], std::byte{0});
    EXPECT_EQ(get(CTRL_STS), kIdle);
}

TEST_F(CrbTest, ReadsOfEverySizeShowTheSameBytes) {
    start();
    for (std::uint64_t offset = 0; offset < 0x80; ++offset) {
        std::array<std::byte, 8> wide{};
        crb.read(offset, wide);
        for (std::uint64_t i = 0; i < wide.size(); ++i) {
            std::byte narrow{};
            crb.read(offset + i, {&narrow, 1});
            EXPECT_EQ(narrow, wide[i]) << offset << '+' << i;
        }
    }
}

TEST_F(CrbTest, WideWriteReachesBothRegistersAndAnUnalignedOneNone) {
    make_ready();
    const std::array<std::byte, 8> both{std::byte{1}, {}, {}, {}, std::byte{1}};
    crb.write(CTRL_CANCEL + 1, std::span{both}.first(4));
    EXPECT_EQ(get(CTRL_CANCEL), 0U);
    crb.write(CTRL_CANCEL, both);
    EXPECT_EQ(get(CTRL_CANCEL), 1U);
    EXPECT_EQ(queue.started, 1);
}

TEST_F(CrbTest, ByteWriteToARegistersFirstByteCounts) {
    make_ready();
    const std::byte one{1};
    crb.write(CTRL_START, {&one, 1});
    EXPECT_EQ(queue.started, 1);
}

TEST_F(CrbTest, AccessesOfEverySizeEverywhereAreHarmless) {
    std::array<std::byte, 8> data{};
    for (const int fill : {0x00, 0xff, 0x01, 0x02}) {
        data.fill(std::byte(fill));
        for (const std::size_t size : {1U, 2U, 4U, 8U}) {
            for (std::uint64_t offset = 0; offset + size <= kCrbRegistersSize; ++offset) {
                crb.write(offset, std::span{data}.first(size));
                std::array<std::byte, 8> out{};
                crb.read(offset, std::span{out}.first(size));
            }
        }
    }
    EXPECT_TRUE(std::ranges::all_of(buffer, [](std::byte byte) { return byte == std::byte{0}; }));
}

}  // namespace
}  // namespace holdfast::tpm
