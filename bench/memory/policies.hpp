// SPDX-License-Identifier: Apache-2.0
// What other ways of choosing pages would miss on the same visits: FIFO, CLOCK with a perfect reference bit,
// the best fixed set, and Belady's optimum, which knows the future.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <queue>
#include <span>
#include <vector>

namespace holdfast::bench {

using Visits = std::span<const std::uint32_t>;

/// Misses among the visits from `warm` on.
inline std::uint64_t fifo_misses(Visits visits, std::size_t warm, std::uint32_t pages,
                                 std::uint32_t capacity) {
    std::vector<bool> in(pages);
    std::deque<std::uint32_t> queue;
    std::uint64_t misses = 0;
    for (std::size_t i = 0; i < visits.size(); ++i) {
        if (in[visits[i]]) continue;
        misses += i >= warm ? 1 : 0;
        if (queue.size() == capacity) {
            in[queue.front()] = false;
            queue.pop_front();
        }
        queue.push_back(visits[i]);
        in[visits[i]] = true;
    }
    return misses;
}

inline std::uint64_t clock_misses(Visits visits, std::size_t warm, std::uint32_t pages,
                                  std::uint32_t capacity) {
    std::vector<std::uint32_t> frames;
    std::vector<bool> in(pages);
    std::vector<bool> referenced(pages);
    std::size_t hand = 0;
    std::uint64_t misses = 0;
    for (std::size_t i = 0; i < visits.size(); ++i) {
        const std::uint32_t page = visits[i];
        if (in[page]) {
            referenced[page] = true;
            continue;
        }
        misses += i >= warm ? 1 : 0;
        in[page] = true;
        if (frames.size() < capacity) {
            frames.push_back(page);
            continue;
        }
        while (referenced[frames[hand]]) {
            referenced[frames[hand]] = false;
            hand = (hand + 1) % capacity;
        }
        in[frames[hand]] = false;
        frames[hand] = page;
        hand = (hand + 1) % capacity;
    }
    return misses;
}

/// The pages visited most often, kept for ever.
inline std::uint64_t static_misses(Visits visits, std::size_t warm, std::uint32_t pages,
                                   std::uint32_t capacity) {
    std::vector<std::uint64_t> counts(pages);
    for (const std::uint32_t page : visits.subspan(warm)) ++counts[page];
    std::ranges::sort(counts, std::greater{});
    std::uint64_t misses = 0;
    for (std::size_t i = capacity; i < counts.size(); ++i) misses += counts[i];
    return misses;
}

inline std::uint64_t belady_misses(Visits visits, std::size_t warm, std::uint32_t pages,
                                   std::uint32_t capacity) {
    constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
    std::vector<std::size_t> next(visits.size());
    std::vector<std::size_t> seen(pages, kNever);
    for (std::size_t i = visits.size(); i-- > 0;) {
        next[i] = seen[visits[i]];
        seen[visits[i]] = i;
    }
    std::priority_queue<std::pair<std::size_t, std::uint32_t>> farthest;  // entries may be out of date
    std::vector<std::size_t> due(pages, 0);
    std::vector<bool> in(pages);
    std::uint32_t used = 0;
    std::uint64_t misses = 0;
    for (std::size_t i = 0; i < visits.size(); ++i) {
        const std::uint32_t page = visits[i];
        if (!in[page]) {
            misses += i >= warm ? 1 : 0;
            while (used == capacity) {
                const auto [when, victim] = farthest.top();
                farthest.pop();
                if (!in[victim] || due[victim] != when) continue;
                in[victim] = false;
                --used;
            }
            in[page] = true;
            ++used;
        }
        due[page] = next[i];
        farthest.emplace(next[i], page);
    }
    return misses;
}

}  // namespace holdfast::bench
