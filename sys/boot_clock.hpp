// SPDX-License-Identifier: Apache-2.0
// Linux' CLOCK_BOOTTIME: like std::chrono::steady_clock, but it also counts the time that this machine has
// slept. For what must not outlive such a sleep.
#pragma once

#include <chrono>

namespace holdfast {

/// Any thread. In a guest its host makes this clock: it can slow it down, and let it jump forwards.
struct BootClock {
    using duration = std::chrono::nanoseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<BootClock>;
    static constexpr bool is_steady = true;
    [[nodiscard]] static time_point now() noexcept;
};

}  // namespace holdfast
