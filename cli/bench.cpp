// SPDX-License-Identifier: Apache-2.0
// holdfast bench: measures this host, this build and the peers installed on it, and shows it.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <fmt/format.h>
#include <unistd.h>

#include "bench/conductor/report.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"

namespace holdfast::cli {
namespace {

using bench::Outcome;
using bench::Report;
using bench::Row;
using bench::Verdict;

volatile std::sig_atomic_t g_interrupted = 0;

/// One line that is written over, and only where a person looks.
class Progress {
public:
    Progress() : on_{::isatty(STDERR_FILENO) == 1} {}
    ~Progress() { clear(); }
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void show(std::size_t done, std::size_t all, std::string_view what) const {
        constexpr std::size_t kWidth = 24;
        const std::size_t full = kWidth * done / all;
        if (on_) print_error("\r\x1b[K[{:#<{}}{:.<{}}] {}", "", full, "", kWidth - full, what);
    }
    void clear() const {
        if (on_) print_error("\r\x1b[K");
    }

private:
    bool on_;
};

bench::Places places() {
    const std::filesystem::path programs = program_directory();
    std::error_code ignored;
    // A build folder in the sources, or what was installed beside the programs.
    const auto in_sources = programs.parent_path() / "bench";
    const bool from_build = std::filesystem::exists(in_sources / "run", ignored);
    return {.programs = programs.string(),
            .sources = (from_build ? in_sources : programs / "bench").string(),
            .vectors = (programs.parent_path().parent_path() / "shared/vectors/attest").string(),
            .scratch = programs.string()};
}

Report measure_all(const BenchOptions& options, std::string command) {
    const Progress progress;
    Report report{.machine = bench::this_machine(std::move(command)),
                  .quick = !options.full,
                  .interrupted = false,
                  .rows = {},
                  .outcomes = {}};
    const auto where = places();
    const int runs = options.full ? 3 : 1;
    const auto all = bench::suites();
    const auto is_wanted = [&](std::string_view id) {
        return options.suites.empty() || std::ranges::find(options.suites, id) != options.suites.end();
    };
    for (std::size_t i = 0; i < all.size(); ++i) {
        progress.show(i, all.size(), all[i].title);
        if (!is_wanted(all[i].id)) continue;
        Outcome outcome;
        if (g_interrupted != 0) outcome.not_measured = "interrupted";
        else outcome = bench::measure(all[i], report.quick, runs, where, [] { return g_interrupted != 0; });
        report.outcomes.emplace(all[i].id, std::move(outcome));
    }
    report.interrupted = g_interrupted != 0;
    for (const bench::Goal& goal : bench::goals()) {
        if (!is_wanted(goal.suite)) continue;
        report.rows.push_back(bench::judge(goal, report.outcomes.find(goal.suite)->second, report.quick));
    }
    return report;
}

void write_report(const std::string& path, const std::string& text) {
    write_file(path, std::as_bytes(std::span{text}));
}

nlohmann::json read_old(const std::string& path) {
    constexpr std::uint64_t kMost = 16U << 20;
    const auto fail = [&](std::string why) {
        return Failure{Code::Value, fmt::format("'{}' cannot be compared with", printable(path)),
                       std::move(why), "give a file that holdfast bench --json has written"};
    };
    const auto text = read_text(path, kMost);
    if (!text) throw fail(text.error());
    auto json = nlohmann::json::parse(*text, nullptr, false);
    if (json.is_discarded()) throw fail("it is no JSON");
    return json;
}

void show_table(const Report& report) {
    const Paint paint{STDOUT_FILENO};
    const bench::Machine& on = report.machine;
    print("{}, {} x {}, {}, {}, load {:.2f}\n", on.date, on.processors, on.processor, on.memory, on.kernel,
          on.load);
    for (const bench::Suite& suite : bench::suites()) {
        if (!report.outcomes.contains(suite.id)) continue;
        print("\n{}{}{}\n", paint.bold(), suite.title, paint.off());
        for (const Row& row : report.rows) {
            if (row.goal->suite != suite.id) continue;
            if (row.verdict == Verdict::NotMeasured) {
                print("  {:<72} {}not measured: {}{}\n", row.goal->question, paint.dim(), row.why_not,
                      paint.off());
                continue;
            }
            const auto beside = [](const std::optional<double>& value, std::string_view name) {
                return value ? fmt::format("{} {}", name, bench::number_words(value)) : std::string{};
            };
            const std::string other =
                row.peer ? beside(row.peer, row.goal->peer_name) : beside(row.limit, row.goal->limit_name);
            const char* colour = row.verdict == Verdict::OnTheLine ? paint.yellow()
                                 : row.verdict == Verdict::Met     ? paint.green()
                                 : row.verdict == Verdict::Missed  ? paint.red()
                                                                   : "";
            print("  {:<72} {:>9}  {:<34} {:>7}  {:<15} {}{}{}\n", row.goal->question,
                  bench::number_words(row.ours), other, bench::number_words(row.ratio),
                  bench::wanted_words(*row.goal), colour, bench::verdict_words(row.verdict), paint.off());
        }
    }
}

int show_changes(const Report& report, const nlohmann::json& old) {
    const auto changes = bench::compare(report, old);
    if (!changes) {
        throw Failure{Code::Value, "there is nothing to compare with", reason_of(changes.error()),
                      "give a file that holdfast bench --json has written"};
    }
    const Paint paint{STDOUT_FILENO};
    print("\n{}Against the other run{}\n", paint.bold(), paint.off());
    int status = 0;
    for (const bench::Change& each : *changes) {
        print("  {:<72} {:>9} -> {:>9}  {}{}{}\n", each.question, bench::number_words(each.before),
              bench::number_words(each.now), each.worse ? paint.red() : paint.green(),
              each.worse ? "worse" : "better", paint.off());
        if (each.worse) status = kExitFailure;
    }
    if (changes->empty()) print("  no ratio differs by more than the noise of both runs\n");
    return status;
}

}  // namespace

int run_bench(const BenchOptions& options) {
    if (options.quick && options.full) {
        throw Failure{Code::Usage, "--quick and --full are both given", "they are the two ways to measure",
                      "give one of them; without either it is quick"};
    }
    // Before minutes of work: what cannot be read or written is known at once.
    const auto old = options.compare.empty() ? nlohmann::json{} : read_old(options.compare);
    for (const std::string& path : {options.html, options.json}) {
        if (!path.empty()) write_report(path, "");
    }
    struct sigaction action{};
    action.sa_handler = [](int) { g_interrupted = 1; };
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
    const Report report =
        measure_all(options, options.full ? "holdfast bench --full" : "holdfast bench --quick");
    show_table(report);
    if (!options.json.empty()) write_report(options.json, bench::to_json(report).dump(2) + '\n');
    if (!options.html.empty()) write_report(options.html, bench::to_html(report));
    if (report.interrupted) print_error("holdfast: interrupted: what is missing says so\n");
    const int status = options.compare.empty() ? 0 : show_changes(report, old);
    return report.interrupted ? kExitFailure : status;
}

}  // namespace holdfast::cli
