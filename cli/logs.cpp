// SPDX-License-Identifier: Apache-2.0
// holdfast logs
#include <array>
#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/state.hpp"

namespace holdfast::cli {
namespace {

// Prints from `offset` to the end. A file that has shrunk was cut by its writer: start again.
void print_rest(const UniqueFd& file, off_t& offset) {
    struct stat status{};
    if (::fstat(file.get(), &status) == 0 && status.st_size < offset) offset = 0;
    std::array<char, 16384> part;
    while (true) {
        const ssize_t got = ::pread(file.get(), part.data(), part.size(), offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        write_text(STDOUT_FILENO, {part.data(), static_cast<std::size_t>(got)});
        offset += got;
    }
}

void drain_events(const UniqueFd& events) {
    std::array<char, 4096> ignored;
    while (::read(events.get(), ignored.data(), ignored.size()) > 0) {
    }
}

}  // namespace

int show_logs(const LogsOptions& options, const std::string& state_dir) {
    const FoundVm vm = find_vm(state_dir, options.name);
    const std::string path = vm.path + '/' + (options.console ? kConsoleLog : kVmmLog);
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!file) {
        throw Failure{Code::NoSuchVm, fmt::format("the log of '{}' is gone", options.name),
                      reason_of(os_error("open")),
                      "a VM in the foreground takes its logs with it when it ends"};
    }
    off_t offset = 0;
    if (options.follow && vm.alive) {
        const UniqueFd events{::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
        const UniqueFd supervisor{static_cast<int>(::syscall(SYS_pidfd_open, vm.record.pid, 0))};
        if (!events || ::inotify_add_watch(events.get(), path.c_str(), IN_MODIFY) < 0) {
            expect(Result<void>{os_error("inotify")});
        }
        for (bool gone = !supervisor; !gone;) {
            print_rest(file, offset);
            PollSet polls;
            const auto changed = polls.add(events.get(), POLLIN);
            const auto ended = polls.add(supervisor.get(), POLLIN);
            polls.wait(std::chrono::milliseconds{-1});
            if (polls.ready(changed)) drain_events(events);
            gone = polls.ready(ended);
        }
    }
    print_rest(file, offset);
    return 0;
}

}  // namespace holdfast::cli
