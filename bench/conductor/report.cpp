// SPDX-License-Identifier: Apache-2.0
#include "bench/conductor/report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

namespace holdfast::bench {
namespace {

// Two runs of the same on one machine differ by so much even where each run's own spread is small.
constexpr double kLeastNoise = 0.1;

const Figure* find(const Figures& figures, std::string_view name) {
    const auto at = name.empty() ? figures.end() : figures.find(name);
    return at == figures.end() ? nullptr : &at->second;
}

/// Ours to theirs run by run, so that what slows both down does not count.
Figure ratio_of(const Figure& ours, const Figure& theirs) {
    Figure ratio;
    const std::size_t runs = std::min(ours.values.size(), theirs.values.size());
    for (std::size_t i = 0; i < runs; ++i) ratio.values.push_back(ours.values[i] / theirs.values[i]);
    return ratio;
}

// What nobody would call a difference.
constexpr double kLineWidth = 0.02;

Verdict verdict_of(const Goal& goal, double ratio, double spread) {
    if (goal.wanted == Wanted::Shown) return Verdict::Shown;
    if (std::abs(ratio / goal.bound - 1) <= std::max(kLineWidth, spread)) return Verdict::OnTheLine;
    const bool met = goal.wanted == Wanted::AtMost ? ratio <= goal.bound : ratio >= goal.bound;
    return met ? Verdict::Met : Verdict::Missed;
}

std::string processor_name() {
    std::ifstream cpuinfo{"/proc/cpuinfo"};
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.starts_with("model name")) return line.substr(std::min(line.find(':') + 2, line.size()));
    }
    return "unknown";
}

}  // namespace

Machine this_machine(std::string command) {
    utsname name{};
    ::uname(&name);
    struct sysinfo memory{};
    ::sysinfo(&memory);
    double load = 0;
    ::getloadavg(&load, 1);
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    char date[32];
    std::strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &utc);
    return {.date = date,
            .version = HF_VERSION,
            .processor = processor_name(),
            .processors = std::thread::hardware_concurrency(),
            .kernel = fmt::format("{} {}", name.sysname, name.release),
            .memory = fmt::format("{} GiB", memory.totalram * memory.mem_unit >> 30),
            .command = std::move(command),
            .load = load};
}

Row judge(const Goal& goal, const Outcome& outcome, bool quick) {
    Row row{.goal = &goal, .why_not = outcome.not_measured};
    const Figure* const ours = find(outcome.figures, goal.ours);
    if (ours == nullptr) {
        if (row.why_not.empty())
            row.why_not = quick ? "the program gave no such figure: some come with --full only"
                                : "the program gave no such figure";
        return row;
    }
    row.ours = ours->median();
    const Figure* const peer = find(outcome.figures, goal.peer);
    const Figure* const limit = find(outcome.figures, goal.limit);
    if (peer != nullptr) row.peer = peer->median();
    if (limit != nullptr) row.limit = limit->median();
    const Figure* const given = find(outcome.figures, goal.ratio);
    const Figure* const against = peer != nullptr ? peer : limit;
    Figure ratio;
    if (given != nullptr) ratio = *given;
    else if (against != nullptr && goal.ratio.empty()) ratio = ratio_of(*ours, *against);
    if (ratio.values.empty()) {
        row.verdict = goal.wanted == Wanted::Shown ? Verdict::Shown : Verdict::NotMeasured;
        if (goal.wanted != Wanted::Shown) row.why_not = "what it is compared with was not measured";
        return row;
    }
    row.ratio = ratio.median();
    if (*row.ratio != 0) row.spread = (ratio.most() - ratio.least()) / 2 / std::abs(*row.ratio);
    row.verdict = verdict_of(goal, *row.ratio, row.spread);
    return row;
}

std::string wanted_words(const Goal& goal) {
    if (goal.wanted == Wanted::Shown) return {};
    return fmt::format("{} {}", goal.wanted == Wanted::AtMost ? "at most" : "at least",
                       number_words(goal.bound));
}

std::string number_words(const std::optional<double>& value) {
    if (!value) return {};
    const double size = std::abs(*value);
    if (size >= 1e6) return fmt::format("{:.3g}", *value);
    return size >= 100 ? fmt::format("{:.0f}", *value)
                       : (size >= 10 ? fmt::format("{:.1f}", *value) : fmt::format("{:.3g}", *value));
}

const char* verdict_words(Verdict verdict) noexcept {
    switch (verdict) {
        case Verdict::Met: return "met";
        case Verdict::OnTheLine: return "on the line";
        case Verdict::Missed: return "missed";
        case Verdict::Shown: return "";
        case Verdict::NotMeasured: return "not measured";
    }
    return "";
}

nlohmann::ordered_json to_json(const Report& report) {
    nlohmann::ordered_json json;
    const Machine& on = report.machine;
    json["holdfast_bench"] = 1;
    json["machine"] = {{"date", on.date},           {"version", on.version},
                       {"processor", on.processor}, {"processors", on.processors},
                       {"kernel", on.kernel},       {"memory", on.memory},
                       {"command", on.command},     {"load", on.load}};
    json["quick"] = report.quick;
    json["interrupted"] = report.interrupted;
    const auto put = [](nlohmann::ordered_json& into, const char* name, const std::optional<double>& value) {
        if (value) into[name] = *value;
        else into[name] = nullptr;
    };
    for (const Row& row : report.rows) {
        nlohmann::ordered_json each{{"suite", row.goal->suite}, {"question", row.goal->question}};
        put(each, "ours", row.ours);
        put(each, "peer", row.peer);
        each["peer_name"] = row.goal->peer_name;
        put(each, "limit", row.limit);
        each["limit_name"] = row.goal->limit_name;
        put(each, "ratio", row.ratio);
        each["spread"] = row.spread;
        each["wanted"] = wanted_words(*row.goal);
        each["verdict"] = verdict_words(row.verdict);
        if (!row.why_not.empty()) each["why"] = row.why_not;
        json["rows"].push_back(std::move(each));
    }
    return json;
}

Result<std::vector<Change>> compare(const Report& report, const nlohmann::json& old) {
    if (!old.is_object() || old.value("holdfast_bench", 0) != 1 || !old.contains("rows") ||
        !old["rows"].is_array()) {
        return input_error("it is no report of holdfast bench --json");
    }
    std::vector<Change> changes;
    for (const Row& row : report.rows) {
        if (!row.ratio) continue;
        for (const auto& each : old["rows"]) {
            if (!each.is_object() || each.value("question", "") != row.goal->question) continue;
            const auto before = each.find("ratio");
            const auto spread = each.find("spread");
            if (before == each.end() || !before->is_number() || spread == each.end() ||
                !spread->is_number()) {
                continue;
            }
            const double noise = std::max(kLeastNoise, row.spread + spread->get<double>());
            const double part = *row.ratio / before->get<double>();
            if (std::abs(part - 1) <= noise) continue;
            const bool more_is_better = row.goal->wanted == Wanted::AtLeast;
            changes.push_back({.question = std::string{row.goal->question},
                               .before = before->get<double>(),
                               .now = *row.ratio,
                               .worse = (part < 1) == more_is_better});
        }
    }
    return changes;
}

}  // namespace holdfast::bench
