// SPDX-License-Identifier: Apache-2.0
// How long a thread that serves others polls before it sleeps.
#pragma once

#include <algorithm>
#include <chrono>

namespace holdfast {

/// A wake-up costs 14-16 us on the machine this was measured on (docs/measurements.md); polling pays only
/// when work comes sooner than that, again and again. Not thread-safe.
class Spin {
public:
    static constexpr std::chrono::nanoseconds kFirst{10'000};
    static constexpr std::chrono::nanoseconds kLongest{40'000};
    [[nodiscard]] std::chrono::nanoseconds length() const noexcept { return length_; }
    /// A sleep ended; spin and sleep together took this long. When work came so soon that a longer
    /// spin would have met it, spin longer; else shorter, down to not at all.
    void was_idle(std::chrono::nanoseconds how_long) noexcept {
        if (how_long < kLongest) {
            length_ = std::clamp(2 * length_, kFirst, kLongest);
        } else {
            length_ = length_ <= kFirst ? std::chrono::nanoseconds{0} : length_ / 2;
        }
    }

private:
    std::chrono::nanoseconds length_{0};
};

}  // namespace holdfast
