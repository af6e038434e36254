// SPDX-License-Identifier: Apache-2.0
#include "vmm/vcpu_thread.hpp"

#include <poll.h>

#include "sys/eventfd.hpp"
#include "tests/kvm/guest.hpp"

namespace holdfast::test {
namespace {

/// Counts writes and wakes whoever waits for the first.
class Counter final : public bus::Device {
public:
    std::string_view name() const noexcept override { return "counter"; }
    void read(std::uint64_t, std::span<std::byte>) noexcept override {}
    void write(std::uint64_t, std::span<const std::byte>) noexcept override {
        ++writes;
        touched.signal();
    }
    void wait() {
        pollfd entry{.fd = touched.fd().get(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&entry, 1, 10'000), 1) << "the guest did nothing for ten seconds";
        touched.drain();
    }
    std::atomic<std::uint64_t> writes = 0;
    EventFd touched = EventFd::create().value();
};

class VcpuThreadTest : public TinyGuest {
protected:
    void SetUp() override {
        TinyGuest::SetUp();
        ASSERT_TRUE(ports.add(0x80, 1, counter).has_value());
    }
    vmm::VcpuThread start(kvm::Vcpu vcpu) { return {0, std::move(vcpu), {ports, mmio}, *this}; }
    void wait_for_end() {
        pollfd entry{.fd = ended.fd().get(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(::poll(&entry, 1, 10'000), 1);
    }
    Counter counter;
};

// out 0x80, al; jmp back
constexpr std::initializer_list<std::uint8_t> kWritesForever{0xe6, 0x80, 0xeb, 0xfc};

TEST_F(VcpuThreadTest, ThreadStartsPaused) {
    const auto thread = start(vcpu_with(kWritesForever));
    EXPECT_EQ(counter.writes, 0U);
}

TEST_F(VcpuThreadTest, NothingIsTouchedBetweenPauseAndResume) {
    auto thread = start(vcpu_with(kWritesForever));
    // Often enough for a kick to land just before and just after KVM_RUN is entered.
    for (int round = 0; round < 200; ++round) {
        thread.resume();
        counter.wait();
        thread.pause();
        const std::uint64_t writes = counter.writes;
        counter.touched.drain();
        EXPECT_EQ(counter.writes, writes);
    }
}

TEST_F(VcpuThreadTest, GuestThatNeverExitsCanBePausedAndEnded) {
    auto thread = start(vcpu_with({0xeb, 0xfe}));
    for (int round = 0; round < 50; ++round) {
        thread.resume();
        thread.pause();
    }
    thread.resume();
}

TEST_F(VcpuThreadTest, TripleFaultIsReportedOnceAndThreadCanStillBePaused) {
    auto thread = start(vcpu_with({0x0f, 0x0b}));
    thread.resume();
    wait_for_end();
    EXPECT_TRUE(shut_down);
    thread.pause();
    thread.resume();
    thread.pause();
}

}  // namespace
}  // namespace holdfast::test
