// SPDX-License-Identifier: Apache-2.0
#include "sys/boot_clock.hpp"

#include <gtest/gtest.h>
#include <ctime>

namespace holdfast {
namespace {

std::chrono::nanoseconds reading() {
    timespec time{};
    EXPECT_EQ(::clock_gettime(CLOCK_BOOTTIME, &time), 0);
    return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

TEST(BootClock, IsLinuxsThatCountsSleep) {
    const auto before = reading();
    const auto now = BootClock::now().time_since_epoch();
    EXPECT_LE(before, now);
    EXPECT_LE(now, reading());
}

}  // namespace
}  // namespace holdfast
