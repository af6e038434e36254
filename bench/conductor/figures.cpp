// SPDX-License-Identifier: Apache-2.0
#include "bench/conductor/figures.hpp"

#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

namespace holdfast::bench {
namespace {

std::string_view word(std::string_view& line) {
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    const std::string_view found = line.substr(0, line.find(' '));
    line.remove_prefix(found.size());
    return found;
}

void add(Figures& figures, std::string name, double value, std::string_view unit) {
    Figure& figure = figures[std::move(name)];
    figure.values.push_back(value);
    figure.unit = unit;
}

// What Google Benchmark says of each benchmark besides the counters that it was given.
bool is_fixed(std::string_view key) {
    constexpr std::string_view kFixed[] = {"family_index", "per_family_instance_index",
                                           "repetitions",  "repetition_index",
                                           "threads",      "iterations",
                                           "real_time",    "cpu_time"};
    return std::ranges::find(kFixed, key) != std::end(kFixed);
}

}  // namespace

double Figure::median() const {
    auto sorted = values;
    std::ranges::sort(sorted);
    return sorted[sorted.size() / 2];
}
double Figure::least() const { return *std::ranges::min_element(values); }
double Figure::most() const { return *std::ranges::max_element(values); }

void take_lines(Figures& figures, std::string_view text) {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        const std::string_view name = word(line);
        const std::string_view number = word(line);
        double value = 0;
        const auto [at, error] = std::from_chars(number.data(), number.data() + number.size(), value);
        const bool whole = error == std::errc{} && at == number.data() + number.size() && !number.empty();
        if (!whole || !name.contains('.')) continue;
        add(figures, std::string{name}, value, word(line));
    }
}

bool take_google_json(Figures& figures, std::string_view text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (json.is_discarded() || !json.contains("benchmarks")) return false;
    for (const auto& each : json["benchmarks"]) {
        if (each.value("run_type", "iteration") != "iteration" || each.value("error_occurred", false))
            continue;
        std::string name = each.value("name", "");
        const bool real = name.ends_with("/real_time");
        if (real) name.resize(name.size() - std::string_view{"/real_time"}.size());
        add(figures, name + (real ? ".real" : ".cpu"), each.value(real ? "real_time" : "cpu_time", 0.0),
            each.value("time_unit", "ns"));
        for (const auto& [key, value] : each.items()) {
            if (value.is_number() && !is_fixed(key)) add(figures, name + '.' + key, value.get<double>(), "");
        }
    }
    return true;
}

}  // namespace holdfast::bench
