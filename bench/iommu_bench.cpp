// SPDX-License-Identifier: Apache-2.0
// Lookups and changes among a million mappings. Question: does asking who granted an address, and judging a
// request, stay below 150 ns? (docs/measurements.md)
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include "iommu/interval_map.hpp"

namespace holdfast::iommu {
namespace {

constexpr std::uint64_t kMappings = 1'000'000;

/// A million single pages, in random order, with gaps between most of them.
const std::vector<std::uint64_t>& starts() {
    static const auto made = [] {
        std::mt19937_64 random{1};
        std::vector<std::uint64_t> all;
        IntervalMap seen;
        while (all.size() < kMappings) {
            const std::uint64_t at = (random() & ((1 << 22) - 1)) << 12;
            if (seen.find(Iova{at})) continue;
            seen.insert({.start = Iova{at}, .size = 4096});
            all.push_back(at);
        }
        return all;
    }();
    return made;
}
IntervalMap& million() {
    static IntervalMap map;
    if (map.size() == 0) {
        for (const std::uint64_t at : starts())
            map.insert({.start = Iova{at}, .size = 4096, .target = GuestAddr{at}});
    }
    return map;
}

void lookup(benchmark::State& state) {
    const IntervalMap& map = million();
    std::size_t at = 0;
    // Each address depends on the answer before it, so that lookups do not overlap in the processor.
    std::uint64_t carry = 0;
    for (auto _ : state) {
        at = (at + 7919) % kMappings;
        const auto found = map.find(Iova{starts()[at] + (carry & 1)});
        carry = found ? found->size : 1;
    }
    state.counters["bytes_per_mapping"] =
        static_cast<double>(map.memory_bytes()) / static_cast<double>(map.size());
}
BENCHMARK(lookup);

void erase_and_insert(benchmark::State& state) {
    IntervalMap& map = million();
    std::size_t at = 0;
    for (auto _ : state) {
        at = (at + 7919) % kMappings;
        const std::uint64_t start = starts()[at];
        benchmark::DoNotOptimize(map.erase(Iova{start}));
        map.insert({.start = Iova{start}, .size = 4096, .target = GuestAddr{start}});
    }
}
BENCHMARK(erase_and_insert);

}  // namespace
}  // namespace holdfast::iommu

BENCHMARK_MAIN();
