// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_view.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/output.hpp"

namespace holdfast::cli {

std::optional<MemoryView> read_memory_view(const nlohmann::json& answer) {
    if (!answer.is_object() || !answer.contains("pages")) return std::nullopt;
    try {
        MemoryView view{.suite = printable(answer.at("suite").get<std::string>()),
                        .seal_after_ms = answer.at("seal-after-ms"),
                        .now = {}};
        auto& now = view.now;
        const auto& pages = answer.at("pages");
        now.pages = pages.at("total");
        now.window = pages.at("window");
        now.clear = pages.at("clear");
        now.grace = pages.at("grace");
        now.sealed = pages.at("sealed");
        now.untouched = pages.at("untouched");
        now.zero = pages.at("zero");
        now.exempt = pages.at("exempt");
        now.poisoned = pages.at("poisoned");
        now.most_clear = pages.at("most-clear");
        const auto& faults = answer.at("faults");
        now.faults_fresh = faults.at("fresh");
        now.faults_sealed = faults.at("sealed");
        now.faults_grace = faults.at("grace");
        now.faults_raced = faults.at("raced");
        now.fault_latency = faults.at("latency-ns-log2");
        now.ahead = answer.at("prefetch").at("opened");
        now.ahead_useful = answer.at("prefetch").at("useful");
        now.neighbours = answer.at("prefetch").at("neighbours");
        now.opened = answer.at("cipher").at("opened");
        now.pages_sealed = answer.at("cipher").at("sealed");
        now.seal_nanoseconds = answer.at("cipher").at("seal-ns");
        now.keys = answer.at("cipher").at("keys");
        return view;
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;  // a VMM of another version, or not a VMM
    }
}

std::string window_bar(const memcrypt::software::Statistics& now, std::size_t width) {
    const std::uint64_t window = std::max<std::uint64_t>(now.window, 1);
    const auto cells = [&](std::uint64_t pages) {
        return std::min(width, static_cast<std::size_t>((pages * width + window - 1) / window));
    };
    const std::size_t clear = cells(now.clear);
    const std::size_t grace = std::min(cells(now.grace), width - clear);
    std::string bar;
    for (std::size_t i = 0; i < width; ++i) bar += i < clear ? "█" : i < clear + grace ? "▒" : "·";
    return bar;
}

std::string latency_words(const memcrypt::software::Latencies& latencies, double part) {
    const std::uint64_t all = std::accumulate(latencies.begin(), latencies.end(), std::uint64_t{0});
    if (all == 0) return "-";
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < latencies.size(); ++i) {
        below += latencies[i];
        if (static_cast<double>(below) < part * static_cast<double>(all)) continue;
        const double microseconds = static_cast<double>(std::uint64_t{2} << i) / 1000;
        return microseconds < 1000 ? fmt::format("{:.0f} us", microseconds)
                                   : fmt::format("{:.0f} ms", microseconds / 1000);
    }
    return "-";
}

}  // namespace holdfast::cli
