// SPDX-License-Identifier: Apache-2.0
// holdfast run: in the foreground the console, or detached with a supervisor in the background.
#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/bundle.hpp"
#include "cli/error.hpp"
#include "cli/files.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/state.hpp"
#include "cli/supervisor.hpp"
#include "sys/pipe.hpp"
#include "sys/sha2.hpp"
#include "vmm/guest_load.hpp"

namespace holdfast::cli {
namespace {

using vmm::EndReason;

std::optional<LaunchedBundle> bundle_of(const Shape& shape) {
    if (!shape.bundle) return std::nullopt;
    Sha256 key;
    key.update(shape.bundle->signer);
    return LaunchedBundle{.name = shape.bundle->manifest.name,
                          .key = hex(key.finish()),
                          .digest = hex(sha384(std::as_bytes(std::span{shape.bundle->manifest_text}))),
                          .security_version = shape.bundle->manifest.security_version};
}

Record record_of(const Shape& shape, const StateDirectory& directory) {
    return {.name = shape.name,
            .state = "starting",
            .pid = ::getpid(),
            .tier = std::string{memcrypt::tier_name(shape.tier)},
            .memory_bytes = shape.memory_bytes,
            .clear_window_bytes = shape.tier == memcrypt::Tier::Software
                                      ? std::optional{shape.software.window_bytes}
                                      : std::nullopt,
            .cpus = shape.cpus,
            .boots = shape.builtin ? "builtin" : shape.kernel,
            .shape = vmm::shape_text(launch_config(shape)),
            .own_vtpm = shape.vtpm && shape.vtpm_socket.empty(),
            .bundle = bundle_of(shape),
            .started_at = std::time(nullptr),
            .qmp_socket = directory.file(kQmpSocket),
            .console_socket = directory.file(kConsoleSocket)};
}

void say_protection(const Shape& shape, const std::vector<vmm::DeviceShape>& devices) {
    std::string window;
    if (shape.tier == memcrypt::Tier::Software) {
        window = fmt::format(" (clear window {} of {})", size_words(shape.software.window_bytes),
                             size_words(shape.memory_bytes));
    }
    print_error("holdfast: {}: memory encryption {}{}: {}\n", shape.name, memcrypt::tier_name(shape.tier),
                window, memcrypt::tier_limit(shape.tier));
    for (const vmm::DeviceShape& device : devices) {
        print_error(
            "holdfast: {}: {} reaches what the guest grants it, {} at most{}\n", shape.name, device.address,
            size_words(std::min(device.max_bytes, shape.memory_bytes)),
            shape.tier == memcrypt::Tier::Software ? ": these pages are not encrypted meanwhile" : "");
    }
}

const char* end_words(EndReason reason) {
    switch (reason) {
        case EndReason::PowerOff: return "the guest powered off";
        case EndReason::Failure: return "the VM failed";
        case EndReason::Reboot: return "the guest rebooted";
        case EndReason::Panic: return "the guest panicked";
        case EndReason::Tampered: return "guest memory was tampered with: the VM was stopped";
        case EndReason::Killed: return "the VM was killed";
    }
    return "";
}

// The VMM's detail may be the same words.
void say_end(const Shape& shape, const End& end) {
    const std::string_view words = end_words(end.reason);
    const bool more = !end.detail.empty() && end.detail != words;
    print_error("holdfast: {}: {}{}{}\n", shape.name, words, more ? ": " : "", more ? end.detail : "");
}

// Keeps the record true however the VM ends.
class Bookkeeping {
public:
    Bookkeeping(const Shape& shape, StateDirectory& directory)
        : directory_{directory}, record_{record_of(shape, directory)} {
        directory_.write_record(record_);
    }
    const Record& started(bool paused, const vmm::Started& how) {
        if (how.launch_digest) record_.launch_digest = hex(*how.launch_digest);
        record_.pcrs = pcr_texts(how.pcrs);
        if (!how.event_log.empty()) write_file(directory_.file(kEventLog), how.event_log, 0600);
        record_.state = paused ? "paused" : "running";
        directory_.write_record(record_);
        return record_;
    }
    void ended(const End& end, int exit_status, std::uint32_t reboots) {
        record_.state = "ended";
        record_.ended_at = std::time(nullptr);
        record_.end_reason = reason_word(end.reason);
        record_.end_detail = end.detail;
        record_.exit_status = exit_status;
        record_.reboots = reboots;
        directory_.write_record(record_);
    }

private:
    StateDirectory& directory_;
    Record record_;
};

// Before anything else is opened, so that the number cannot mean a descriptor of ours.
UniqueFd take_report_fd(int number) {
    if (number >= 0 && ::fcntl(number, F_SETFD, FD_CLOEXEC) < 0) {
        throw Failure{Code::Usage, fmt::format("--report-fd {} cannot be used", number), "it is not open",
                      "hand over an open descriptor of that number"};
    }
    return UniqueFd{number};
}

int run_foreground(const Shape& shape, const RunOptions& options, const std::string& state_dir) {
    UniqueFd report = take_report_fd(options.report_fd);
    const Signals signals;
    StateDirectory directory = StateDirectory::claim(state_root(state_dir), shape.name);
    Resources resources = open_resources(shape, directory, state_dir);
    Bookkeeping book{shape, directory};
    End end;
    {
        Supervisor supervisor{shape, resources, state_dir, signals, [&](const vmm::Started& how) {
                                  const Record& record = book.started(shape.paused, how);
                                  if (!report) return;
                                  const std::string words = to_json(record);
                                  expect(write_all(report, std::as_bytes(std::span{words})));
                                  report.reset();
                              }};
        say_protection(shape, resources.devices);
        supervisor.attach_console();
        end = supervisor.run();
    }
    if (end.reason != EndReason::PowerOff || ::isatty(STDERR_FILENO) == 1) say_end(shape, end);
    return static_cast<int>(end.reason);
}

void redirect(int fd, int target) {
    if (::dup2(fd, target) < 0) expect(Result<void>{os_error("dup2")});
}

// The background half: prints its failures where the user still looks until `answer` is closed.
int supervise_detached(const Shape& shape, const RunOptions& options, const std::string& state_dir,
                       UniqueFd answer) {
    const Signals signals;
    const std::string root = state_root(state_dir);
    forget_old_vms(root);
    StateDirectory directory = StateDirectory::claim(root, shape.name);
    Resources resources = open_resources(shape, directory, state_dir);
    Bookkeeping book{shape, directory};
    const int log = resources.vmm_log.get();
    const auto started = [&](const vmm::Started& how) {
        const Record& record = book.started(shape.paused, how);
        const std::string words = options.json ? to_json(record) : record.name + '\n';
        // Whoever asked has gone: then nobody wants the VM either.
        expect(write_all(answer, std::as_bytes(std::span{words})));
        const UniqueFd null{::open("/dev/null", O_RDWR | O_CLOEXEC)};
        redirect(null.get(), STDIN_FILENO);
        redirect(null.get(), STDOUT_FILENO);
        redirect(log, STDERR_FILENO);
        if (::chdir("/") < 0) expect(Result<void>{os_error("chdir")});
        directory.keep_record();
        answer.reset();
    };
    std::uint32_t reboots = 0;
    try {
        Supervisor supervisor{shape, resources, state_dir, signals, started};
        say_protection(shape, resources.devices);
        const End end = supervisor.run();
        reboots = supervisor.reboots();
        book.ended(end, static_cast<int>(end.reason), reboots);
        say_end(shape, end);
        return static_cast<int>(end.reason);
    } catch (const Failure& failure) {
        book.ended({.reason = EndReason::Failure, .detail = failure.what()}, failure.exit_status(), reboots);
        throw;
    }
}

// Returns in the background process with its exit status; leaves in the foreground one.
int run_detached(const Shape& shape, const RunOptions& options, const std::string& state_dir) {
    auto [answer, answer_writer] = expect(make_pipe());
    const pid_t supervisor = ::fork();
    if (supervisor < 0) expect(Result<void>{os_error("fork")});
    if (supervisor == 0) {
        answer.reset();
        ::setsid();
        return supervise_detached(shape, options, state_dir, std::move(answer_writer));
    }
    answer_writer.reset();
    std::string words;
    std::array<char, 4096> part;
    while (true) {
        const ssize_t got = ::read(answer.get(), part.data(), part.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        words.append(part.data(), static_cast<std::size_t>(got));
    }
    if (!words.empty()) {
        write_text(STDOUT_FILENO, words);
        return 0;
    }
    int status = 0;
    while (::waitpid(supervisor, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : kExitFailure;
}

}  // namespace

int run_vm(const RunOptions& options, const std::string& state_dir) {
    if (options.report_fd >= 0 && options.detach) {
        throw Failure{Code::Usage, "--report-fd is given with --detach",
                      "--detach --json prints the same object", "leave out one of the two"};
    }
    if (options.json && !options.detach) {
        throw Failure{Code::Usage, "--json is given without --detach",
                      "in the foreground standard output is the guest's console",
                      "add --detach, or leave out --json"};
    }
    Settings flags = options.settings;
    Settings file = options.config.empty() ? Settings{} : read_config(options.config);
    auto bundle = take_bundle(flags, file);
    Shape shape = resolve(flags, file);
    if (bundle) hold_to_bundle(shape, std::move(*bundle));
    return options.detach ? run_detached(shape, options, state_dir)
                          : run_foreground(shape, options, state_dir);
}

}  // namespace holdfast::cli
