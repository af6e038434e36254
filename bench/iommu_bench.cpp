// SPDX-License-Identifier: Apache-2.0
// Lookups and changes among a million mappings. Question: does asking who granted an address, and judging a
// request, stay below 150 ns? (docs/measurements.md)
#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "iommu/interval_map.hpp"

namespace holdfast::iommu {
namespace {

constexpr std::uint64_t kMappings = 1'000'000;

/// A million single pages, each with a gap behind it, inserted in random order.
Iova start(std::uint64_t index) { return Iova{index << 13}; }
IntervalMap& million() {
    static IntervalMap map;
    if (map.size() != 0) return map;
    std::vector<std::uint64_t> order(kMappings);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, std::mt19937_64{1});
    for (const std::uint64_t index : order) {
        map.insert({.start = start(index), .size = 4096, .target = GuestAddr{index << 12}});
    }
    return map;
}
std::uint64_t next(std::uint64_t& random) {
    random = random * 6364136223846793005 + 1442695040888963407;
    return (random >> 33) % kMappings;
}

void lookup(benchmark::State& state) {
    const IntervalMap& map = million();
    std::uint64_t random = 1;
    for (auto _ : state) {
        // Each address depends on the answer before it, so that lookups do not overlap in the processor.
        const auto found = map.find(start(next(random)));
        random += found ? found->size : 1;
    }
    state.counters["bytes_per_mapping"] =
        static_cast<double>(map.memory_bytes()) / static_cast<double>(map.size());
}
BENCHMARK(lookup);

/// The least that a lookup can cost: one read that depends on the one before it, from as much memory.
void one_read(benchmark::State& state) {
    constexpr std::size_t kLine = 64;
    std::vector<std::uint32_t> next_of(million().memory_bytes() / kLine * (kLine / sizeof(std::uint32_t)));
    const std::size_t lines = next_of.size() * sizeof(std::uint32_t) / kLine;
    std::vector<std::uint32_t> order(lines);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::shuffle(order, std::mt19937_64{2});
    for (std::size_t i = 0; i < lines; ++i) {
        next_of[order[i] * (kLine / sizeof(std::uint32_t))] = order[(i + 1) % lines];
    }
    std::uint32_t at = 0;
    for (auto _ : state) at = next_of[at * (kLine / sizeof(std::uint32_t))];
    benchmark::DoNotOptimize(at);
}
BENCHMARK(one_read);

void erase_and_insert(benchmark::State& state) {
    IntervalMap& map = million();
    std::uint64_t random = 1;
    for (auto _ : state) {
        const std::uint64_t index = next(random);
        benchmark::DoNotOptimize(map.erase(start(index)));
        map.insert({.start = start(index), .size = 4096, .target = GuestAddr{index << 12}});
    }
}
BENCHMARK(erase_and_insert);

}  // namespace
}  // namespace holdfast::iommu

BENCHMARK_MAIN();
