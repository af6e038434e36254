// SPDX-License-Identifier: Apache-2.0
// A token bucket: how much a guest may make the host do in a time.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace holdfast {

/// `rate` tokens a second, at most `burst` saved up. Not thread-safe.
class TokenBucket {
public:
    using Clock = std::chrono::steady_clock;

    TokenBucket(std::uint64_t rate, std::uint64_t burst, Clock::time_point now) noexcept
        : rate_{rate}, burst_{burst}, tokens_{burst}, last_{now} {}

    /// Takes as many of `wanted` tokens as there are.
    [[nodiscard]] std::uint64_t take(std::uint64_t wanted, Clock::time_point now) noexcept {
        refill(now);
        const std::uint64_t taken = std::min(wanted, tokens_);
        tokens_ -= taken;
        return taken;
    }
    /// How long until `wanted` tokens (at most the burst) will be there.
    [[nodiscard]] std::chrono::nanoseconds wait_for(std::uint64_t wanted, Clock::time_point now) noexcept {
        refill(now);
        wanted = std::min(wanted, burst_);
        if (wanted <= tokens_ || rate_ == 0) return std::chrono::nanoseconds{0};
        return std::chrono::nanoseconds{(wanted - tokens_) * 1'000'000'000 / rate_ + 1};
    }

private:
    void refill(Clock::time_point now) noexcept {
        if (now <= last_) return;
        // Beyond an hour any bucket is full; the bound keeps the product in 64 bits.
        const auto passed = std::min<std::chrono::nanoseconds>(now - last_, std::chrono::hours{1});
        const auto micros = static_cast<std::uint64_t>(passed.count()) / 1000;
        const std::uint64_t gained = micros * std::min<std::uint64_t>(rate_, 1ULL << 31) / 1'000'000;
        if (gained == 0) return;  // keep the remainder of time for the next call
        tokens_ = std::min(burst_, tokens_ + gained);
        last_ = now;
    }
    std::uint64_t rate_;
    std::uint64_t burst_;
    std::uint64_t tokens_;
    Clock::time_point last_;
};

}  // namespace holdfast
