// SPDX-License-Identifier: Apache-2.0
// How long a thread that serves others polls before it sleeps.
#pragma once

#include <algorithm>
#include <chrono>

namespace holdfast {

/// A wake-up costs 14-16 us on the machine this was measured on (docs/measurements.md); polling pays only
/// when work comes sooner than that, again and again, and from another processor: who shares ours cannot
/// bring any while we poll. Not thread-safe.
class Spin {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::nanoseconds kFirst{10'000};
    static constexpr std::chrono::nanoseconds kLongest{40'000};
    /// A sleep this short, right after a poll that met nothing, is a sign of somebody who shares our
    /// processor.
    static constexpr std::chrono::nanoseconds kShort{8'000};
    static constexpr int kSigns = 3;   ///< in a row, with no poll that met work in between
    static constexpr int kRest = 256;  ///< sleeps without a poll after that

    [[nodiscard]] std::chrono::nanoseconds length() const noexcept { return length_; }
    /// There was work, and it is done.
    void worked(Clock::time_point now) noexcept {
        if (polled_) signs_ = 0;
        polled_ = false;
        idle_since_ = now;
    }
    /// There is no work. True: look again. False: sleep, then say woke().
    [[nodiscard]] bool goes_on(Clock::time_point now) noexcept {
        if (now - idle_since_ >= length_) return false;
        polled_ = true;
        return true;
    }
    /// A sleep ended. When work came so soon that a longer poll would have met it, poll longer; else shorter,
    /// down to not at all.
    void woke(Clock::time_point asleep, Clock::time_point now) noexcept {
        if (polled_ && now - asleep < kShort && ++signs_ == kSigns) {
            signs_ = 0;
            rest_ = kRest;
        }
        if (rest_ > 0) {
            --rest_;
            length_ = std::chrono::nanoseconds{0};
        } else if (now - idle_since_ < kLongest) {
            length_ = std::clamp(2 * length_, kFirst, kLongest);
        } else {
            length_ = length_ <= kFirst ? std::chrono::nanoseconds{0} : length_ / 2;
        }
        polled_ = false;
        idle_since_ = now;
    }

private:
    std::chrono::nanoseconds length_{0};
    Clock::time_point idle_since_{};
    bool polled_ = false;
    int signs_ = 0;
    int rest_ = 0;
};

}  // namespace holdfast
