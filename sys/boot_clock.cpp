// SPDX-License-Identifier: Apache-2.0
#include "sys/boot_clock.hpp"

#include <ctime>

namespace holdfast {

BootClock::time_point BootClock::now() noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);  // fails for clocks only that the kernel does not know
    return time_point{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
}

}  // namespace holdfast
