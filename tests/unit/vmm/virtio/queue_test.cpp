// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/queue.hpp"

#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "tests/unit/vmm/virtio/fake_driver.hpp"

namespace holdfast::virtio {
namespace {

constexpr std::uint64_t kBuffer = 0x200000;
constexpr unsigned kNext = spec::DESC_F_NEXT;
constexpr unsigned kWrite = spec::DESC_F_WRITE;
constexpr unsigned kIndirect = spec::DESC_F_INDIRECT;

class QueueTest : public testing::Test {
protected:
    QueueTest() { make(false); }
    void make(bool event_idx, bool indirect = true) {
        memory.fill_zero(GuestAddr{0x100000}, 0x10000).value();
        driver = {
            .memory = &memory, .size = 8, .descriptors = 0x100000, .available = 0x104000, .used = 0x108000};
        queue = Queue::create(memory, layout(event_idx, indirect)).value();
    }
    QueueLayout layout(bool event_idx = false, bool indirect = true) const {
        return {.size = 8,
                .descriptors = GuestAddr{driver.descriptors},
                .available = GuestAddr{driver.available},
                .used = GuestAddr{driver.used},
                .indirect = indirect,
                .event_idx = event_idx};
    }
    void expect_fault() {
        const auto popped = queue.pop(chain);
        ASSERT_FALSE(popped.has_value());
        EXPECT_EQ(popped.error().fault, Fault::Guest);
    }
    void offer(std::uint64_t address, std::uint32_t length, unsigned flags, unsigned next = 0) {
        driver.describe(0, address, length, flags, next);
        driver.offer(0);
    }
    memcrypt::GuestMemory memory =
        memcrypt::GuestMemory::create_plain(
            std::array{memcrypt::GuestMemory::Range{GuestAddr{0}, kRamSize},
                       memcrypt::GuestMemory::Range{GuestAddr{0x100000000}, 4 * kPageSize}})
            .value();
    DriverQueue driver;
    Queue queue;
    Chain chain;
};

TEST_F(QueueTest, EmptyRingHasNoChain) {
    EXPECT_FALSE(queue.has_chain().value());
    EXPECT_FALSE(queue.pop(chain).value());
}

TEST_F(QueueTest, ChainIsSplitIntoReadableAndWritable) {
    driver.describe(0, kBuffer, 10, kNext, 5);
    driver.describe(5, kBuffer + 100, 20, kNext | kWrite, 3);
    driver.describe(3, kBuffer + 200, 30, kWrite);
    driver.offer(0);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.head(), 0);
    EXPECT_EQ(chain.readable().size(), 1U);
    EXPECT_EQ(chain.writable().size(), 2U);
    EXPECT_EQ(chain.readable_bytes(), 10U);
    EXPECT_EQ(chain.writable_bytes(), 50U);
    EXPECT_EQ(chain.writable()[1].address, GuestAddr{kBuffer + 200});
    EXPECT_FALSE(queue.pop(chain).value());
}

/// A guest's other processor, as far as anything here can tell: no lock, no order that we could rely on.
__attribute__((no_sanitize("thread"))) void flip(volatile std::uint64_t* at, std::uint64_t one,
                                                 std::uint64_t other, const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) {
        *at = one;
        *at = other;
    }
}

// Judged and used are the same copy (threat_model.md, G-2): whichever address a pop sees, none outside RAM
// comes out of it.
TEST_F(QueueTest, DescriptorThatChangesMeanwhileIsJudgedAsItIsUsed) {
    driver.describe(0, kBuffer, 16);
    const auto ram = memory.regions().front().host;
    // SAFETY: the descriptor's first eight bytes, aligned; only the test's "guest" goes this way.
    auto* const address = reinterpret_cast<volatile std::uint64_t*>(ram.subspan(driver.descriptors).data());
    std::atomic<bool> stop = false;
    std::thread guest{[&] { flip(address, kBuffer, kRamSize - 8, stop); }};
    unsigned taken = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < 200'000 || ((taken == 0 || refused == 0) && i < 20'000'000); ++i) {
        driver.offer(0);
        const auto popped = queue.pop(chain);
        if (popped) {
            ++taken;
            ASSERT_TRUE(*popped);
            ASSERT_EQ(chain.readable()[0].address, GuestAddr{kBuffer});
        } else {
            ++refused;
            make(false);
            driver.describe(0, kBuffer, 16);
        }
    }
    stop = true;
    guest.join();
    EXPECT_NE(taken, 0U);
    EXPECT_NE(refused, 0U);
}

TEST_F(QueueTest, RingAndIndicesWrapAround) {
    driver.describe(0, kBuffer, 1);
    for (unsigned i = 0; i < 70000; ++i) {
        driver.offer(0);
        ASSERT_TRUE(queue.pop(chain).value()) << i;
        queue.push(0, i);
        ASSERT_TRUE(queue.publish());
        ASSERT_EQ(driver.used_index(), static_cast<std::uint16_t>(i + 1));
        ASSERT_EQ(driver.used_element(i).len.get(), i);
    }
}

TEST_F(QueueTest, ChainThatLoopsIsAGuestFault) {
    offer(kBuffer, 16, kNext, 0);
    expect_fault();
}

TEST_F(QueueTest, LongestChainIsTakenAndOneMoreIsAGuestFault) {
    constexpr std::uint64_t kTable = 0x300000;
    for (std::uint16_t i = 0; i <= kMaxSegments; ++i)
        driver.describe_at(kTable, i, kBuffer, 1, kNext, i + 1U);
    driver.describe_at(kTable, kMaxSegments - 1, kBuffer, 1);
    offer(kTable, 16 * kMaxSegments, kIndirect);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.readable().size(), kMaxSegments);
    driver.describe_at(kTable, kMaxSegments - 1, kBuffer, 1, kNext, kMaxSegments);
    driver.describe_at(kTable, kMaxSegments, kBuffer, 1);
    offer(kTable, 16 * (kMaxSegments + 1), kIndirect);
    expect_fault();
}

TEST_F(QueueTest, HeadOrNextOutOfRangeIsAGuestFault) {
    driver.describe(7, kBuffer, 1);
    driver.offer(7);
    EXPECT_TRUE(queue.pop(chain).value());
    for (const std::uint16_t head : {std::uint16_t{8}, std::uint16_t{0xffff}}) {
        make(false);
        driver.offer(head);
        expect_fault();
    }
    for (const unsigned next : {8U, 0xffffU}) {
        make(false);
        offer(kBuffer, 1, kNext, next);
        expect_fault();
    }
}

TEST_F(QueueTest, AvailableIndexMayBeAheadByTheSizeAndNoMore) {
    driver.describe(0, kBuffer, 1);
    driver.put16(driver.available + 2, 8);
    EXPECT_TRUE(queue.has_chain().value());
    for (const unsigned index : {9U, 0x8000U, 0xffffU}) {
        make(false);
        driver.put16(driver.available + 2, static_cast<std::uint16_t>(index));
        expect_fault();
    }
}

TEST_F(QueueTest, DescriptorNotWhollyInRamIsAGuestFault) {
    struct Case {
        std::uint64_t address;
        std::uint32_t length;
    };
    for (const auto& [address, length] :
         {Case{kRamSize, 1}, Case{kRamSize - 1, 2}, Case{0, 0xffffffff}, Case{~0ULL, 1}, Case{~0ULL - 3, 8},
          Case{0xe0000000, 16}, Case{0xfee00000, 4}, Case{0x100000000 + 4 * kPageSize - 1, 2},
          Case{0xffffffff, 2}}) {
        for (const unsigned flags : {0U, kWrite}) {
            make(false);
            offer(address, length, flags);
            expect_fault();
        }
    }
    make(false);
    offer(0x100000000, 4 * kPageSize, kWrite);
    EXPECT_TRUE(queue.pop(chain).value());
}

TEST_F(QueueTest, EmptyDescriptorCountsForNothing) {
    driver.describe(0, ~0ULL, 0, kNext, 1);
    driver.describe(1, kBuffer, 3);
    driver.offer(0);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.readable_bytes(), 3U);
    std::array<std::byte, 3> bytes{};
    EXPECT_TRUE(gather(memory, chain.readable(), 0, bytes).has_value());
}

TEST_F(QueueTest, ReadableAfterWritableIsAGuestFault) {
    driver.describe(0, kBuffer, 1, kNext | kWrite, 1);
    driver.describe(1, kBuffer, 1);
    driver.offer(0);
    expect_fault();
}

TEST_F(QueueTest, IndirectTableMayFollowPlainDescriptors) {
    driver.describe(0, kBuffer, 4, kNext, 1);
    driver.describe(1, 0x300000, 32, kIndirect);
    driver.describe_at(0x300000, 0, kBuffer, 5, kNext, 1);
    driver.describe_at(0x300000, 1, kBuffer, 6, kWrite);
    driver.offer(0);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(chain.readable_bytes(), 9U);
    EXPECT_EQ(chain.writable_bytes(), 6U);
}

TEST_F(QueueTest, BadIndirectTablesAreGuestFaults) {
    driver.describe_at(0x300000, 0, kBuffer, 1);
    driver.describe_at(0x310000, 0, 0x300000, 16, kIndirect);
    struct Case {
        const char* what;
        std::uint64_t table;
        std::uint32_t bytes;
        unsigned flags;
        bool allowed;
    };
    for (const Case& bad :
         {Case{"not negotiated", 0x300000, 16, kIndirect, false},
          Case{"nested", 0x310000, 16, kIndirect, true},
          Case{"with successor", 0x300000, 16, kIndirect | kNext, true},
          Case{"empty", 0x300000, 0, kIndirect, true}, Case{"half an entry", 0x300000, 17, kIndirect, true},
          Case{"outside RAM", kRamSize - 8, 16, kIndirect, true},
          Case{"in MMIO", 0xe0000000, 16, kIndirect, true},
          Case{"wraps around", ~0ULL - 7, 16, kIndirect, true}}) {
        SCOPED_TRACE(bad.what);
        make(false, bad.allowed);
        offer(bad.table, bad.bytes, bad.flags);
        expect_fault();
    }
    make(false);
    driver.describe_at(0x300000, 0, kBuffer, 1, kNext, 1);  // next is past the table
    offer(0x300000, 16, kIndirect);
    expect_fault();
}

TEST_F(QueueTest, BadRingsAreRefused) {
    const auto fails = [&](auto change) {
        QueueLayout bad = layout();
        change(bad);
        return !Queue::create(memory, bad).has_value();
    };
    for (const unsigned size : {0U, 3U, 7U, 0xffffU}) {
        EXPECT_TRUE(fails([&](QueueLayout& bad) { bad.size = static_cast<std::uint16_t>(size); })) << size;
    }
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.descriptors = GuestAddr{0x100008}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.available = GuestAddr{0x104001}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.used = GuestAddr{0x108002}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.descriptors = GuestAddr{kRamSize - 112}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.available = GuestAddr{kRamSize - 20}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.used = GuestAddr{kRamSize - 68}; }));
    EXPECT_FALSE(fails([](QueueLayout& bad) { bad.used = GuestAddr{kRamSize - 72}; }));
    EXPECT_TRUE(fails([](QueueLayout& bad) { bad.used = GuestAddr{0xfffffffffffffffc}; }));
}

TEST_F(QueueTest, WithoutEventIndexFlagsSuppressBothWays) {
    driver.describe(0, kBuffer, 1);
    driver.offer(0);
    ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(driver.used_flags(), spec::USED_F_NO_NOTIFY);
    driver.put16(driver.available, spec::AVAIL_F_NO_INTERRUPT);
    queue.push(0, 0);
    EXPECT_FALSE(queue.publish());
    EXPECT_FALSE(queue.arm().value());
    EXPECT_EQ(driver.used_flags(), 0);
    driver.offer(0);
    EXPECT_TRUE(queue.arm().value());
}

TEST_F(QueueTest, WithEventIndexInterruptsComeWhenTheIndexIsPassed) {
    make(true);
    driver.describe(0, kBuffer, 1);
    for (int i = 0; i < 6; ++i) driver.offer(0);
    driver.set_used_event(2);  // interrupt me after the third
    const auto finish = [&](int chains) {
        for (int i = 0; i < chains; ++i) {
            EXPECT_TRUE(queue.pop(chain).value());
            queue.push(0, 0);
        }
        return queue.publish();
    };
    EXPECT_FALSE(finish(1));
    EXPECT_FALSE(finish(1));
    EXPECT_TRUE(finish(1));
    EXPECT_FALSE(finish(1));
    driver.set_used_event(4);
    EXPECT_TRUE(finish(2));  // passed within a batch
    EXPECT_FALSE(queue.publish());
}

TEST_F(QueueTest, WithEventIndexKicksAreAskedForAtTheNextChainOnly) {
    make(true);
    driver.describe(0, kBuffer, 1);
    for (int i = 0; i < 3; ++i) driver.offer(0);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(queue.pop(chain).value());
    EXPECT_EQ(driver.available_event(), 0);
    EXPECT_FALSE(queue.arm().value());
    EXPECT_EQ(driver.available_event(), 3);
}

TEST_F(QueueTest, QueueThatWantsNothingAsksForNoKick) {
    queue.set_wanted(false);
    EXPECT_EQ(driver.used_flags(), spec::USED_F_NO_NOTIFY);
    EXPECT_FALSE(queue.arm().value());
    EXPECT_EQ(driver.used_flags(), spec::USED_F_NO_NOTIFY);
    queue.set_wanted(true);
    EXPECT_FALSE(queue.arm().value());
    EXPECT_EQ(driver.used_flags(), 0);
}

TEST_F(QueueTest, CopiesCrossSegmentBordersAndRefuseToLeaveTheChain) {
    driver.describe(0, kBuffer, 3, kNext | kWrite, 1);
    driver.describe(1, kBuffer + 0x1000, 5, kWrite);
    driver.offer(0);
    ASSERT_TRUE(queue.pop(chain).value());
    const std::array<std::byte, 8> in{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4},
                                      std::byte{5}, std::byte{6}, std::byte{7}, std::byte{8}};
    ASSERT_TRUE(scatter(memory, chain.writable(), 0, in).has_value());
    EXPECT_EQ(memory.read_value<std::uint8_t>(GuestAddr{kBuffer + 0x1004}).value(), 8);
    std::array<std::byte, 4> out{};
    ASSERT_TRUE(gather(memory, chain.writable(), 2, out).has_value());
    EXPECT_EQ(out[0], std::byte{3});
    EXPECT_EQ(out[3], std::byte{6});
    EXPECT_FALSE(gather(memory, chain.writable(), 5, out).has_value());
    EXPECT_FALSE(scatter(memory, chain.writable(), 8, out).has_value());
    EXPECT_FALSE(scatter(memory, chain.writable(), ~0ULL, out).has_value());
}

TEST_F(QueueTest, DisabledQueueIsInert) {
    Queue disabled;
    EXPECT_FALSE(disabled.pop(chain).value());
    disabled.push(3, 4);
    EXPECT_FALSE(disabled.publish());
    disabled.set_wanted(false);
    EXPECT_FALSE(disabled.arm().value());
}

}  // namespace
}  // namespace holdfast::virtio
