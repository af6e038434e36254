// SPDX-License-Identifier: Apache-2.0
#include "cli/ending.hpp"

#include <cerrno>
#include <csignal>

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/poll_set.hpp"

namespace holdfast::cli {
namespace {

constexpr std::chrono::seconds kPatience{10};

}  // namespace

SupervisorHandle::SupervisorHandle(const std::string& state_dir, const FoundVm& vm)
    : name_{vm.record.name}, pidfd_{static_cast<int>(::syscall(SYS_pidfd_open, vm.record.pid, 0))} {
    // The lock was held before the pidfd was opened and is held after by a VM with the same record:
    // so the number meant the supervisor all the time.
    const FoundVm again = find_living_vm(state_dir, name_);
    if (pidfd_ && again.record.pid == vm.record.pid && again.path == vm.path) return;
    throw Failure{Code::NotRunning, fmt::format("the VM '{}' is not running any more", name_),
                  "it ended just now", fmt::format("holdfast status {} says how", name_)};
}

bool SupervisorHandle::wait(std::chrono::milliseconds limit) const {
    PollSet polls;
    const auto ended = polls.add(pidfd_.get(), POLLIN);
    polls.wait(limit);
    return polls.ready(ended);
}

void SupervisorHandle::end_now() const {
    for (const int signal : {SIGTERM, SIGKILL}) {
        if (::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0U) < 0 && errno != ESRCH) {
            throw Failure{Code::Rights, fmt::format("the VM '{}' may not be ended", name_),
                          reason_of(os_error("signal its supervisor")),
                          "ask as the user who launched it, or as root"};
        }
        if (wait(kPatience)) return;
    }
}

}  // namespace holdfast::cli
