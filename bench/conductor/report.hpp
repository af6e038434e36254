// SPDX-License-Identifier: Apache-2.0
// What was measured, judged and shown: as a table, as one page of HTML without anything from elsewhere, as
// JSON.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/conductor/runner.hpp"
#include "sys/result.hpp"

namespace holdfast::bench {

enum class Verdict : std::uint8_t {
    Met,
    OnTheLine,  ///< within the noise of what was promised
    Missed,
    Shown,  ///< nothing was promised
    NotMeasured,
};

struct Row {
    const Goal* goal = nullptr;
    std::optional<double> ours;
    std::optional<double> peer;
    std::optional<double> limit;
    std::optional<double> ratio;
    double spread = 0;  ///< of the ratio over the runs, half of it, as a part of the ratio
    Verdict verdict = Verdict::NotMeasured;
    std::string why_not;
};

/// Facts without which a figure says nothing.
struct Machine {
    std::string date;
    std::string version;
    std::string processor;
    unsigned processors = 0;
    std::string kernel;
    std::string memory;
    std::string command;
    double load = 0;  ///< before the first measurement
};
[[nodiscard]] Machine this_machine(std::string command);

struct Report {
    Machine machine;
    bool quick = false;
    bool interrupted = false;
    std::vector<Row> rows;
    std::map<std::string, Outcome, std::less<>> outcomes;  ///< by suite
};

/// `quick`: what a suite did not give may be a thing that takes too long for that.
[[nodiscard]] Row judge(const Goal& goal, const Outcome& outcome, bool quick);

/// "at most 0.25"; empty where nothing was promised.
[[nodiscard]] std::string wanted_words(const Goal& goal);
[[nodiscard]] std::string number_words(const std::optional<double>& value);
[[nodiscard]] const char* verdict_words(Verdict verdict) noexcept;

[[nodiscard]] nlohmann::ordered_json to_json(const Report& report);
[[nodiscard]] std::string to_html(const Report& report);
/// An inline SVG, or empty where there is nothing to draw.
[[nodiscard]] std::string to_svg(const Plot& plot, const Figures& figures);

/// A ratio that is worse or better than before by more than both runs' noise.
struct Change {
    std::string question;
    double before = 0;
    double now = 0;
    bool worse = false;
};
/// Input error: `old` is no report of ours.
Result<std::vector<Change>> compare(const Report& report, const nlohmann::json& old);

}  // namespace holdfast::bench
