// SPDX-License-Identifier: Apache-2.0
// holdfast top: all VMs at a glance, once a second, until q or Ctrl-C. Where it does not write to a terminal
// it looks once and ends.
#include <chrono>
#include <map>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/memory_view.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/qmp.hpp"
#include "cli/state.hpp"
#include "cli/terminal.hpp"

namespace holdfast::cli {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTurn{1000};
constexpr std::chrono::milliseconds kPatience{200};
constexpr std::size_t kBar = 20;

struct Look {
    Record record;
    nlohmann::json memory;
    std::optional<MemoryView> view;
    Clock::time_point when;
};

// A VM whose QMP socket somebody else holds is shown with what its record says.
Look look_at(Record record) {
    Look look{.record = std::move(record), .memory = nullptr, .view = {}, .when = Clock::now()};
    try {
        QmpClient qmp{look.record.qmp_socket, kPatience};
        const auto status = qmp.execute("query-status");
        if (status.is_object()) look.record.state = printable(status.value("status", look.record.state));
        look.memory = qmp.execute("query-memcrypt");
        look.view = read_memory_view(look.memory);
    } catch (const Failure&) {
    }
    return look;
}

std::vector<Look> look_at_all(const std::string& state_dir) {
    std::vector<Look> looks;
    for (FoundVm& vm : find_vms(state_dir)) {
        if (vm.alive) looks.push_back(look_at(std::move(vm.record)));
    }
    return looks;
}

std::string rate_words(std::uint64_t now, std::uint64_t before, double seconds) {
    if (seconds <= 0 || now < before) return "-";
    return fmt::format("{:.0f}", static_cast<double>(now - before) / seconds);
}

std::vector<std::string> row_of(const Look& look, const Look* before) {
    std::vector<std::string> row{look.record.name, look.record.state, look.record.tier};
    if (!look.view) {
        row.resize(10, "-");
        return row;
    }
    const auto& now = look.view->now;
    const auto share = [&](std::uint64_t pages) {
        return fmt::format("{:.0f}%", 100.0 * static_cast<double>(pages) / static_cast<double>(now.pages));
    };
    row.push_back(size_words(now.window * kPageSize));
    row.push_back(window_bar(now, kBar));
    row.push_back(share(now.sealed));
    if (before != nullptr && before->view) {
        const auto& then = before->view->now;
        const double seconds = std::chrono::duration<double>(look.when - before->when).count();
        row.push_back(rate_words(now.faults_sealed + now.faults_fresh, then.faults_sealed + then.faults_fresh,
                                 seconds));
        row.push_back(rate_words(now.faults_grace, then.faults_grace, seconds));
        row.push_back(rate_words(now.pages_sealed, then.pages_sealed, seconds));
    } else {
        row.resize(9, "-");
    }
    row.push_back(latency_words(now.fault_latency, 0.5));
    return row;
}

std::vector<std::vector<std::string>> table_of(const std::vector<Look>& looks,
                                               const std::map<std::string, Look>& before) {
    std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "TIER", "WINDOW", "CLEAR | GRACE | FREE",
                                                "SEALED", "OPENS/s", "GRACE/s", "SEALS/s", "FAULT p50"}};
    for (const Look& look : looks) {
        const auto then = before.find(look.record.name);
        rows.push_back(row_of(look, then == before.end() ? nullptr : &then->second));
    }
    return rows;
}

int show_once(const std::vector<Look>& looks, bool json) {
    if (!json) {
        print_table(table_of(looks, {}));
        return 0;
    }
    std::string text = "[";
    for (const Look& look : looks)
        text += (text.size() == 1 ? "\n" : ",\n") + to_json(look.record, look.memory);
    write_text(STDOUT_FILENO, text + "]\n");
    return 0;
}

/// True: the user wants to leave. Waits for the rest of the turn otherwise.
bool wants_to_leave() {
    constexpr char kControlC = 3;
    PollSet polls;
    const auto keys = polls.add(STDIN_FILENO, POLLIN);
    polls.wait(kTurn);
    if (!polls.ready(keys)) return false;
    char key = 0;
    return ::read(STDIN_FILENO, &key, 1) <= 0 || key == 'q' || key == kControlC;
}

// The other screen of the terminal, so that what was there is there again afterwards.
class OtherScreen {
public:
    OtherScreen() { write_text(STDOUT_FILENO, "\x1b[?1049h\x1b[?25l"); }
    ~OtherScreen() { write_text(STDOUT_FILENO, "\x1b[?25h\x1b[?1049l"); }
    OtherScreen(const OtherScreen&) = delete;
    OtherScreen& operator=(const OtherScreen&) = delete;
};

}  // namespace

int show_top(const TopOptions& options, const std::string& state_dir) {
    if (options.json || ::isatty(STDOUT_FILENO) != 1) {
        return show_once(look_at_all(state_dir), options.json);
    }
    const RawTerminal raw;
    const OtherScreen screen;
    const Paint paint{STDOUT_FILENO};
    std::map<std::string, Look> before;
    do {
        std::vector<Look> looks = look_at_all(state_dir);
        write_text(STDOUT_FILENO, "\x1b[H\x1b[J");
        print("{}holdfast top{}   {} VM{}, q leaves\n\n", paint.bold(), paint.off(), looks.size(),
              looks.size() == 1 ? "" : "s");
        print_table(table_of(looks, before));
        before.clear();
        for (Look& look : looks) before.insert_or_assign(look.record.name, std::move(look));
    } while (!wants_to_leave());
    return 0;
}

}  // namespace holdfast::cli
