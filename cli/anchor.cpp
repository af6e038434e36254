// SPDX-License-Identifier: Apache-2.0
// holdfast anchor: makes this host's anchor, serves it in the foreground, and says how it is.
#include <algorithm>
#include <ctime>
#include <filesystem>
#include <optional>

#include <fmt/format.h>
#include <unistd.h>
#include <nlohmann/json.hpp>

#include "cli/anchor_files.hpp"
#include "cli/anchor_verbs.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/resources.hpp"
#include "cli/signing.hpp"
#include "cli/supervisor.hpp"
#include "sys/process.hpp"
#include "sys/sha2.hpp"
#include "sys/socket.hpp"
#include "vtpm/anchor/launch.hpp"
#include "vtpm/anchor/protocol.hpp"

namespace holdfast::cli {
namespace {

using anchor::RefusalWords;

// An endurance that makers of TPMs admit to, and the years a host lives.
constexpr std::uint64_t kEndurance = 100'000;

[[noreturn]] void refused(const RefusalWords& words, const std::string& detail) {
    throw Failure{
        Code::AnchorRefused, fmt::format("the anchor does not serve: {}", words.name),
        detail.empty() ? std::string{words.cause} : fmt::format("{} ({})", words.cause, printable(detail)),
        std::string{words.fix}};
}

/// holdfast-anchor, started, and its first report.
struct Process {
    UniqueFd handover;
    Child child;
    anchor::Report report;
};

Process start(const anchor::LaunchConfig& config) {
    auto [ours, theirs] = expect(socket_pair(SOCK_SEQPACKET));
    auto child = Child::start(program_directory() + "/holdfast-anchor", {}, theirs, {});
    if (!child) {
        throw Failure{Code::Programs, "holdfast-anchor cannot be started", reason_of(child.error()),
                      "build or install all of Holdfast: ninja -C build, meson install -C build"};
    }
    theirs.reset();
    [[maybe_unused]] const auto sent = send_launch(ours, config);
    auto report = anchor::receive_report(ours);
    if (!report || !*report) {
        throw Failure{Code::AnchorRefused, "holdfast-anchor ended without a word",
                      report ? "it crashed, or was killed" : reason_of(report.error()),
                      "its last lines are above; report them"};
    }
    return {std::move(ours), std::move(*child), std::move(**report)};
}

std::uint32_t pcr_mask(const std::string& list) {
    std::uint32_t mask = 0;
    std::size_t at = 0;
    while (at < list.size()) {
        const std::size_t comma = std::min(list.find(',', at), list.size());
        const std::string word = list.substr(at, comma - at);
        const bool number = !word.empty() && word.size() <= 2 &&
                            std::ranges::all_of(word, [](char c) { return c >= '0' && c <= '9'; });
        if (!number || std::stoul(word) > 23) {
            throw Failure{Code::Value, fmt::format("--pcrs does not understand '{}'", printable(list)),
                          "a PCR is a number from 0 to 23", "name them like --pcrs 0,7; none is --pcrs ''"};
        }
        mask |= 1U << std::stoul(word);
        at = comma + 1;
    }
    return mask;
}

int init(const AnchorOptions& options, const AnchorFiles& files) {
    if (files.exist()) {
        throw Failure{Code::AnchorExists, "this host has an anchor already", files.file("keys") + " exists",
                      "holdfast anchor status says how it is; a new one would know none of its vTPMs"};
    }
    const std::uint32_t pcrs = pcr_mask(options.pcrs);
    std::vector<std::byte> update_key;
    if (!options.update_key.empty()) update_key = read_public_key(options.update_key, KeyKind::P256);
    TpmChannel tpm = open_tpm(options.tcti);
    files.make_directory();
    anchor::LaunchConfig config{.tpm = std::move(tpm.fd),
                                .keys = files.open_locked_keys(),
                                .log0 = files.open("log.0"),
                                .log1 = files.open("log.1"),
                                .mode = anchor::Mode::Init,
                                .software_tpm = tpm.software,
                                .pcrs = pcrs,
                                .update_key = std::move(update_key)};
    Process process = start(config);
    if (const auto* why = std::get_if<anchor::RefusedReport>(&process.report)) {
        // A key file that no TPM backs would look like an anchor that lost its TPM.
        if (expect(file_size(config.keys)) == 0) ::unlink(files.file("keys").c_str());
        throw Failure{
            Code::AnchorRefused, "the anchor cannot be made",
            fmt::format("{}: {}", words_of(why->state).cause, printable(why->detail)),
            "if counters of an older anchor are in the way: tpm2_nvundefine 0x1804860, tpm2_nvundefine "
            "0x1804861"};
    }
    files.write_line("tcti", options.tcti);
    expect(process.child.wait());
    if (options.json) {
        write_text(1, nlohmann::json{{"state", "initialized"}, {"software_tpm", tpm.software}}.dump() + "\n");
    } else {
        print("anchor made in {}{}\n", files.directory(),
              tpm.software ? "; its TPM is software: whoever copies that TPM's state rolls everything back"
                           : "");
    }
    return 0;
}

int serve(const AnchorOptions& options, const AnchorFiles& files) {
    if (!files.exist()) refused(words_of(anchor::Refused::NotInitialized), "");
    Signals signals;
    anchor::LaunchConfig config{
        .keys = files.open_locked_keys(),
        .log0 = files.open("log.0"),
        .log1 = files.open("log.1"),
        .adopt_checkpoints = options.power_loss == "adopt",
        .approval = options.approval.empty() ? std::vector<std::byte>{} : read_signature(options.approval),
        .daily_budget = options.daily_budget,
        .stores_a_second = options.stores_a_second};
    TpmChannel tpm = open_tpm(files.read_line("tcti"));
    config.tpm = std::move(tpm.fd);
    config.software_tpm = tpm.software;
    // Before the first VM of a boot nobody has made /run/holdfast.
    std::error_code wrong;
    std::filesystem::create_directories(std::filesystem::path{files.socket()}.parent_path(), wrong);
    // The lock on the key file says that whoever made this socket is gone.
    ::unlink(files.socket().c_str());
    config.listener = expect(listen_unix(files.socket(), SOCK_SEQPACKET));
    Process process = start(config);
    config = {};
    if (const auto* why = std::get_if<anchor::RefusedReport>(&process.report)) {
        ::unlink(files.socket().c_str());
        const RefusalWords words = words_of(why->state);
        files.write_line("refused", std::to_string(static_cast<unsigned>(why->state)));
        refused(words, why->detail);
    }
    ::unlink(files.file("refused").c_str());
    print("ready\n");
    PollSet set;
    const auto asked = set.add(signals.fd().get(), POLLIN);
    const auto ended = set.add(process.child.pidfd().get(), POLLIN);
    do {
        set.wait(std::chrono::milliseconds{-1});
    } while (!set.ready(asked) && !set.ready(ended));
    const bool orderly = !set.ready(ended);
    const auto last = orderly ? std::nullopt : expect(anchor::receive_report(process.handover));
    process.handover.reset();  // it takes a last checkpoint
    const Ending ending = expect(process.child.wait());
    ::unlink(files.socket().c_str());
    if (const auto* why = last ? std::get_if<anchor::RefusedReport>(&*last) : nullptr) {
        refused(words_of(why->state), why->detail);
    }
    if (ending.signalled || ending.value != 0) {
        throw Failure{Code::AnchorRefused, "holdfast-anchor ended unexpectedly",
                      fmt::format("{} {}", ending.signalled ? "signal" : "status", ending.value),
                      "start it again: vTPMs pause meanwhile and go on; its last lines are above"};
    }
    return 0;
}

/// How long the TPM's flash lasts. A rate of less than a day says nothing.
std::string life_words(const anchor::StatusAnswer& status) {
    constexpr double kDay = 86'400;
    const double days =
        static_cast<double>(std::time(nullptr) - static_cast<std::int64_t>(status.made_at)) / kDay;
    if (days < 1)
        return fmt::format("of the {} that a TPM stands; how fast they come shows after a day", kEndurance);
    const double a_day = static_cast<double>(std::max<std::uint64_t>(status.flash_writes, 1)) / days;
    const auto left = static_cast<double>(kEndurance - std::min(kEndurance, status.flash_writes));
    return fmt::format("at this rate the TPM lasts {:.0f} years (of {} writes)", left / a_day / 365,
                       kEndurance);
}

void show_serving(const anchor::StatusAnswer& status, const AnchorOptions& options) {
    if (options.json) {
        const nlohmann::json object{{"state", "serving"},
                                    {"o", status.o},
                                    {"s", status.s},
                                    {"reset_count", status.reset_count},
                                    {"root", hex(status.root)},
                                    {"vtpms", status.vtpms},
                                    {"running", status.running},
                                    {"with_gaps", status.gaps},
                                    {"reanchored", status.reanchored},
                                    {"adopted", status.adopted},
                                    {"software_tpm", status.software_tpm},
                                    {"commits", status.commits},
                                    {"batches", status.batches},
                                    {"flash_writes", status.flash_writes},
                                    {"flash_writes_today", status.flash_writes_today},
                                    {"daily_budget", status.daily_budget}};
        write_text(1, object.dump() + "\n");
        return;
    }
    const Paint paint{1};
    const auto row = [&](const char* label, const std::string& value) {
        print("{}{:<14}{}{}\n", paint.dim(), label, paint.off(), value);
    };
    row("state", fmt::format("{}serving{} since {}", paint.green(), paint.off(),
                             age_words(std::time(nullptr) - static_cast<std::int64_t>(status.started_at))));
    row("what it does",
        "an old copy of a vTPM's state, of the log or of both is refused: the TPM's counter has moved on");
    if (status.software_tpm) {
        row("limit", fmt::format("{}the TPM is software: whoever restores its state too is not noticed{}",
                                 paint.yellow(), paint.off()));
    }
    row("counters", fmt::format("O {}, S {}", status.o, status.s));
    row("vTPMs", fmt::format("{}, {} of them running", status.vtpms, status.running));
    if (status.gaps > 0) {
        row("gaps",
            fmt::format("{}{} vTPMs went back to a checkpoint after a power cut; their verifiers see it{}",
                        paint.yellow(), status.gaps, paint.off()));
    }
    if (status.reanchored > 0) {
        row("re-anchored", fmt::format("{}{} vTPMs, by their tenants; their verifiers see it{}",
                                       paint.yellow(), status.reanchored, paint.off()));
    }
    row("commits", fmt::format("{} in {} batches", status.commits, status.batches));
    row("flash writes",
        fmt::format("{}, today {}{}; {}", status.flash_writes, status.flash_writes_today,
                    status.daily_budget == 0 ? "" : fmt::format(" of {}", status.daily_budget),
                    life_words(status)));
}

int show(const AnchorOptions& options, const AnchorFiles& files) {
    if (const auto socket = connect_unix(files.socket(), SOCK_SEQPACKET)) {
        const auto answer = ask(*socket, anchor::StatusAsk{});
        if (answer && std::holds_alternative<anchor::StatusAnswer>(*answer)) {
            show_serving(std::get<anchor::StatusAnswer>(*answer), options);
            return 0;
        }
    }
    std::string state = "stopped";
    RefusalWords words{"", "no holdfast-anchor runs; vTPMs do not start, running ones wait",
                       "holdfast anchor serve (or start its service)"};
    const std::string last = files.read_line("refused");
    if (!files.exist()) {
        words = words_of(anchor::Refused::NotInitialized);
        state = words.name;
    } else if (!last.empty() && last.size() <= 2 &&
               std::ranges::all_of(last, [](char c) { return c >= '0' && c <= '9'; })) {
        words = words_of(static_cast<anchor::Refused>(std::stoul(last)));
        state = "refused";
    }
    if (options.json) {
        write_text(
            1,
            nlohmann::json{{"state", state}, {"name", words.name}, {"cause", words.cause}, {"fix", words.fix}}
                    .dump() +
                "\n");
    } else {
        print("state   {}{}{}\ncause   {}\nfix     {}\n", state,
              words.name.empty() || state == words.name ? "" : ": ", state == words.name ? "" : words.name,
              words.cause, words.fix);
    }
    return kExitFailure;
}

int checkpoint(const AnchorOptions& options, const AnchorFiles& files) {
    const auto socket = connect_unix(files.socket(), SOCK_SEQPACKET);
    if (!socket) {
        throw Failure{Code::AnchorStopped, "no anchor serves here", reason_of(socket.error()),
                      "holdfast anchor status says why"};
    }
    const anchor::Answer answer = expect(ask(*socket, anchor::CheckpointAsk{}));
    if (const auto* denied = std::get_if<anchor::Denied>(&answer)) {
        throw Failure{Code::AnchorDenied, "no checkpoint was made", std::string{denial_words(denied->why)},
                      "wait for tomorrow, or start the anchor with a higher --daily-budget"};
    }
    if (options.json) write_text(1, nlohmann::json{{"state", "checkpointed"}}.dump() + "\n");
    else print("checkpoint made: a power cut from here on loses only what comes after it\n");
    return 0;
}

}  // namespace

int run_anchor(const AnchorOptions& options, const std::string& state_dir) {
    const AnchorFiles files{state_dir};
    if (options.action == "init") return init(options, files);
    if (options.action == "serve") return serve(options, files);
    if (options.action == "checkpoint") return checkpoint(options, files);
    if (options.action == "reanchor") return reanchor(options, files, state_dir);
    return show(options, files);
}

}  // namespace holdfast::cli
