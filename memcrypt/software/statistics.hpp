// SPDX-License-Identifier: Apache-2.0
// What the pager counts, for people and programs: query-memcrypt, status, top.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdint>

namespace holdfast::memcrypt::software {

/// Numbers of things in classes that double: class i holds [2^i, 2^(i+1)) nanoseconds.
inline constexpr std::size_t kLatencyClasses = 28;  ///< up to 0.13 s and above
using Latencies = std::array<std::uint64_t, kLatencyClasses>;

/// One moment's values.
struct Statistics {
    std::uint64_t pages = 0;
    std::uint64_t window = 0;  ///< most pages that may be clear
    std::uint64_t clear = 0;   ///< mapped for the guest, and those on the way there or back
    std::uint64_t grace = 0;
    std::uint64_t sealed = 0;
    std::uint64_t untouched = 0;
    std::uint64_t zero = 0;
    std::uint64_t exempt = 0;
    std::uint64_t poisoned = 0;
    std::uint64_t most_clear = 0;  ///< since the start; never above `window`

    std::uint64_t faults_fresh = 0;   ///< of pages never touched before, or that were all zeros
    std::uint64_t faults_sealed = 0;  ///< answered by decryption
    std::uint64_t faults_grace = 0;   ///< answered by mapping
    std::uint64_t faults_raced = 0;   ///< somebody else was at the page already
    std::uint64_t opened = 0;         ///< pages decrypted, with those opened ahead
    std::uint64_t ahead = 0;          ///< pages opened ahead of a stream
    std::uint64_t ahead_useful = 0;   ///< of these, passed over by the guest later
    std::uint64_t neighbours = 0;     ///< pages opened because they had left with one that was touched
    std::uint64_t pages_sealed = 0;
    std::uint64_t seal_nanoseconds = 0;  ///< spent in the cipher for them
    std::uint64_t keys = 0;              ///< how many the VM has had
    Latencies fault_latency{};           ///< from hearing of a fault to its page being mapped
};

/// Counters that several threads add to.
class Counter {
public:
    void add(std::uint64_t n = 1) noexcept { value_.fetch_add(n, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

struct Counters {
    Counter faults_fresh, faults_sealed, faults_grace, faults_raced, opened, ahead, ahead_useful, neighbours,
        pages_sealed, seal_nanoseconds, keys;
    std::array<Counter, kLatencyClasses> fault_latency;

    void fault_took(std::chrono::nanoseconds time) noexcept {
        const auto nanoseconds = static_cast<std::uint64_t>(std::max<std::int64_t>(time.count(), 1));
        const auto power = static_cast<std::size_t>(std::bit_width(nanoseconds) - 1);
        fault_latency[std::min(power, kLatencyClasses - 1)].add();
    }
};

}  // namespace holdfast::memcrypt::software
