// SPDX-License-Identifier: Apache-2.0
// Flash writes of the host's TPM that the anchor causes: counted from what the counters show, and kept
// below a budget a day.
#pragma once

#include <chrono>
#include <cstdint>

#include "vtpm/anchor/counters.hpp"

namespace holdfast::anchor {

/// What flash writes are computed from. A fence writes two authValues; every start moves S twice.
struct WearCount {
    std::uint64_t first_o = 0;
    std::uint64_t first_s = 0;
    std::uint64_t jump_bits = 255;
    std::uint32_t starts = 0;
    std::uint64_t made_at = 0;  ///< when counting began, seconds since 1970

    [[nodiscard]] std::uint64_t flash_writes(const Reading& now) const noexcept {
        return (now.o - first_o) / (jump_bits + 1) + (now.s - first_s) + 2ULL * starts;
    }
};

/// Counts a day at a time, from the anchor's start.
class WearBudget {
public:
    using Clock = std::chrono::steady_clock;
    WearBudget(std::uint64_t daily, std::uint64_t jump_bits, Clock::time_point now) noexcept
        : daily_{daily}, steps_a_write_{jump_bits + 1}, day_{now} {}

    /// O, in increments, has half of the budget; the rest stays for checkpoints and starts.
    [[nodiscard]] bool allows_commit(Clock::time_point now) noexcept {
        turn(now);
        return daily_ == 0 || o_ < daily_ * steps_a_write_ / 2;
    }
    /// A quarter stays for stores that nobody can ask about before: a TPM makes some unbidden.
    [[nodiscard]] bool has_room(Clock::time_point now) noexcept {
        turn(now);
        return daily_ == 0 || o_ < daily_ * steps_a_write_ / 4;
    }
    [[nodiscard]] bool allows_checkpoint(Clock::time_point now) noexcept {
        turn(now);
        return daily_ == 0 || writes_today() < daily_;
    }
    void moved(std::uint64_t o, std::uint64_t s) noexcept {
        o_ += o;
        s_ += s;
    }
    [[nodiscard]] std::uint64_t writes_today() const noexcept { return o_ / steps_a_write_ + s_; }

private:
    void turn(Clock::time_point now) noexcept {
        if (now - day_ < std::chrono::hours{24}) return;
        day_ = now;
        o_ = s_ = 0;
    }
    std::uint64_t daily_;
    std::uint64_t steps_a_write_;
    Clock::time_point day_;
    std::uint64_t o_ = 0;
    std::uint64_t s_ = 0;
};

}  // namespace holdfast::anchor
