// SPDX-License-Identifier: Apache-2.0
// In which order a measured guest visits its pages.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

namespace holdfast::bench {

enum class Pattern : std::uint8_t { Sequential, Random, Zipf };
inline constexpr Pattern kPatterns[] = {Pattern::Sequential, Pattern::Random, Pattern::Zipf};

constexpr std::string_view pattern_name(Pattern pattern) {
    switch (pattern) {
        case Pattern::Sequential: return "sequential";
        case Pattern::Random: return "random";
        case Pattern::Zipf: return "zipf";
    }
    return "";
}

/// `visits` page numbers below `pages`. Zipf has exponent 0.99 (YCSB's), its ranks shuffled over all pages.
inline std::vector<std::uint32_t> visits_of(Pattern pattern, std::uint32_t pages, std::size_t visits,
                                            unsigned seed = 1) {
    std::mt19937_64 random{seed};
    std::vector<std::uint32_t> order(visits);
    switch (pattern) {
        case Pattern::Sequential:
            for (std::size_t i = 0; i < visits; ++i) order[i] = static_cast<std::uint32_t>(i % pages);
            break;
        case Pattern::Random:
            for (auto& page : order) page = static_cast<std::uint32_t>(random() % pages);
            break;
        case Pattern::Zipf: {
            constexpr double kExponent = 0.99;
            std::vector<double> sums(pages);
            double sum = 0;
            for (std::uint32_t rank = 0; rank < pages; ++rank)
                sums[rank] = sum += std::pow(rank + 1, -kExponent);
            std::vector<std::uint32_t> page_of(pages);
            std::iota(page_of.begin(), page_of.end(), 0U);
            std::ranges::shuffle(page_of, random);
            std::uniform_real_distribution<double> uniform{0, sum};
            for (auto& page : order) {
                const auto rank = std::ranges::lower_bound(sums, uniform(random)) - sums.begin();
                page = page_of[static_cast<std::size_t>(std::min<std::ptrdiff_t>(rank, pages - 1))];
            }
            break;
        }
    }
    return order;
}

}  // namespace holdfast::bench
