// SPDX-License-Identifier: Apache-2.0
// holdfast status
#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/error.hpp"
#include "cli/memory_view.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/qmp.hpp"
#include "cli/state.hpp"

namespace holdfast::cli {
namespace {

// The VMM knows better than the record whether the guest runs; but it has one QMP client at a time,
// and status must not wait for a libvirt that holds it.
nlohmann::json ask_vmm(Record& record) {
    nlohmann::json memory;
    if (record.state != "running" && record.state != "paused") return memory;
    try {
        QmpClient qmp{record.qmp_socket, std::chrono::milliseconds{300}};
        const auto status = qmp.execute("query-status");
        if (status.is_object()) record.state = printable(status.value("status", record.state));
        memory = qmp.execute("query-memcrypt");
    } catch (const Failure&) {  // the record stands
    }
    return memory;
}

std::string_view limit_of(const std::string& tier) {
    using memcrypt::Tier;
    for (const Tier each : {Tier::None, Tier::Software, Tier::SevSnp, Tier::Tdx}) {
        if (memcrypt::tier_name(each) == tier) return memcrypt::tier_limit(each);
    }
    return "";
}

}  // namespace

int show_status(const StatusOptions& options, const std::string& state_dir) {
    FoundVm vm = find_vm(state_dir, options.name);
    Record& record = vm.record;
    const nlohmann::json memory = ask_vmm(record);
    if (options.json) {
        write_text(1, to_json(record, memory));
        return 0;
    }
    const Paint paint{1};
    const std::int64_t now = std::time(nullptr);
    const bool ended = record.state == "ended";
    const auto row = [&](const char* label, const std::string& value) {
        print("{}{:<12}{}{}\n", paint.dim(), label, paint.off(), value);
    };
    print("{}{}{}\n", paint.bold(), record.name, paint.off());
    if (ended) {
        row("state", fmt::format("ended {} ago: {}{}{}", age_words(now - record.ended_at), record.end_reason,
                                 record.end_detail.empty() ? "" : ", ", printable(record.end_detail)));
        row("exit status", fmt::to_string(record.exit_status));
    } else {
        row("state",
            fmt::format("{}{}{}, since {}", record.state == "running" ? paint.green() : paint.yellow(),
                        record.state, paint.off(), age_words(now - record.started_at)));
        row("pid", fmt::to_string(record.pid));
    }
    row("boots", printable(record.boots));
    row("shape", fmt::format("{} memory, {} vCPU{}", size_words(record.memory_bytes), record.cpus,
                             record.cpus == 1 ? "" : "s"));
    row("encryption", fmt::format("{}: {}", record.tier, limit_of(record.tier)));
    if (!record.launch_digest.empty()) row("digest", printable(record.launch_digest));
    if (!record.pcrs.empty()) row("measured", "into the PCRs of its vTPM: status --json has the values");
    if (const auto view = read_memory_view(memory)) {
        const auto& pages = view->now;
        row("window",
            fmt::format("{} of {}, {}; sealed when not used for {}", size_words(pages.window * kPageSize),
                        size_words(pages.pages * kPageSize), view->suite,
                        view->seal_after_ms == 0 ? "(never)" : fmt::format("{} ms", view->seal_after_ms)));
        row("", fmt::format("{} {} clear, {} in grace", window_bar(pages, 30),
                            size_words(pages.clear * kPageSize), size_words(pages.grace * kPageSize)));
        row("sealed",
            fmt::format("{} sealed, {} never touched, {} all zeros, {} exempt{}",
                        size_words(pages.sealed * kPageSize), size_words(pages.untouched * kPageSize),
                        size_words(pages.zero * kPageSize), size_words(pages.exempt * kPageSize),
                        pages.poisoned > 0 ? fmt::format(", {} POISONED", pages.poisoned) : ""));
        row("faults",
            fmt::format("{} opened a page, {} in grace, {} fresh; p50 {}, p99 {}", pages.faults_sealed,
                        pages.faults_grace, pages.faults_fresh, latency_words(pages.fault_latency, 0.5),
                        latency_words(pages.fault_latency, 0.99)));
        row("ahead", fmt::format("{} pages opened ahead, {} of them passed by the guest since; {} beside one "
                                 "that was touched",
                                 pages.ahead, pages.ahead_useful, pages.neighbours));
    }
    if (!ended) {
        row("qmp", record.qmp_socket);
        row("console", record.console_socket);
    }
    row("logs", vm.path);
    return 0;
}

}  // namespace holdfast::cli
