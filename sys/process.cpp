// SPDX-License-Identifier: Apache-2.0
#include "sys/process.hpp"

#include <array>
#include <cerrno>
#include <csignal>

#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast {
namespace {

constexpr int kStartFailed = 127;

// Runs in the child between clone and exec: system calls only, no allocation.
[[noreturn]] void become(const char* program, char* const* argv, int handover, const Child::Stdio& stdio,
                         pid_t parent) noexcept {
    std::array<int, 5> wanted{stdio.in, stdio.out, stdio.err, handover, stdio.extra};
    const std::size_t count = stdio.extra < 0 ? 4 : 5;
    // First out of the way of 0..4, so that no dup2 below overwrites one that is still needed.
    for (std::size_t i = 0; i < count; ++i) {
        if (wanted[i] < 0) wanted[i] = i == 2 ? STDERR_FILENO : ::open("/dev/null", O_RDWR | O_CLOEXEC);
        wanted[i] = ::fcntl(wanted[i], F_DUPFD_CLOEXEC, 10);
        if (wanted[i] < 0) ::_exit(kStartFailed);
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (::dup2(wanted[i], static_cast<int>(i)) < 0) ::_exit(kStartFailed);
    }
    if (::syscall(SYS_close_range, static_cast<unsigned>(count), ~0U, 0U) < 0) ::_exit(kStartFailed);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || ::getppid() != parent) ::_exit(kStartFailed);
    char* const no_environment[] = {nullptr};
    ::execve(program, argv, no_environment);
    ::_exit(kStartFailed);
}

}  // namespace

Result<Child> Child::start(const std::string& program, const std::vector<std::string>& arguments,
                           const UniqueFd& handover, const Stdio& stdio) {
    if (::access(program.c_str(), X_OK) < 0) return os_error("find program to start");
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);

    const pid_t parent = ::getpid();
    int pidfd = -1;
    // Not CLONE_VM: a raw clone on a shared stack would overwrite its own return address. VFORK only
    // makes a failed exec's status follow at once.
    const long pid =
        ::syscall(SYS_clone, CLONE_PIDFD | CLONE_VFORK | SIGCHLD, nullptr, &pidfd, nullptr, nullptr);
    if (pid < 0) return os_error("start process");
    if (pid == 0) become(program.c_str(), argv.data(), handover.get(), stdio, parent);
    return Child{static_cast<pid_t>(pid), UniqueFd{pidfd}};
}

Child::~Child() {
    if (pid_ < 0) return;
    kill(SIGKILL);
    [[maybe_unused]] const auto ending = wait();
}

void Child::kill(int signal) const noexcept {
    if (pidfd_) ::syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0U);
}

Result<Ending> Child::wait() {
    siginfo_t info{};
    int rc = -1;
    do {
        rc = ::waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) return os_error("wait for process");
    pid_ = -1;
    pidfd_.reset();
    return Ending{.signalled = info.si_code != CLD_EXITED, .value = info.si_status};
}

}  // namespace holdfast
