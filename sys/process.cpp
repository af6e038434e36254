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

// glibc's own name of clone(): ThreadSanitizer takes clone() for fork(), and its books are not copied here.
// NOLINTNEXTLINE(bugprone-reserved-identifier)
extern "C" int __clone(int (*function)(void*), void* stack, int flags, void* argument, ...) noexcept;

namespace holdfast {
namespace {

constexpr int kStartFailed = 127;
constexpr int kSignals = 64;
constexpr std::size_t kStackBytes = 16 << 10;  // one system call deep

struct Becoming {
    const char* program;
    char* const* argv;
    int handover;
    const Child::Stdio& stdio;
    pid_t parent;
};

/// The child has its own table of handlers, but the parent's memory for them to run in: exec, which resets
/// them too, would be too late.
void forget_handlers() noexcept {
    for (int signal = 1; signal <= kSignals; ++signal) {
        std::array<unsigned long, 4> action{};  // handler, flags, restorer, mask, as the kernel has them
        constexpr std::size_t kMaskBytes = 8;
        if (::syscall(SYS_rt_sigaction, signal, nullptr, action.data(), kMaskBytes) < 0) continue;
        if (action[0] <= 1) continue;  // SIG_DFL, SIG_IGN
        action.fill(0);
        ::syscall(SYS_rt_sigaction, signal, action.data(), nullptr, kMaskBytes);
    }
}

int open_null() noexcept {
    return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC));
}
int call(long number, long first, long second, long third = 0) noexcept {
    return static_cast<int>(::syscall(number, first, second, third));
}

// Runs in the child between clone and exec, in the parent's memory: system calls only, no allocation, and
// bare ones, since sanitizers keep books of what open() and the like have done, which are the parent's.
int become(void* given) noexcept {
    const Becoming& what = *static_cast<const Becoming*>(given);
    const Child::Stdio& stdio = what.stdio;
    std::array<int, 5> wanted{stdio.in, stdio.out, stdio.err, what.handover, stdio.extra};
    const std::size_t count = stdio.extra < 0 ? 4 : 5;
    // First out of the way of 0..4, so that no dup2 below overwrites one that is still needed.
    for (std::size_t i = 0; i < count; ++i) {
        if (wanted[i] < 0) wanted[i] = i == 2 ? STDERR_FILENO : open_null();
        wanted[i] = call(SYS_fcntl, wanted[i], F_DUPFD_CLOEXEC, 10);
        if (wanted[i] < 0) return kStartFailed;
    }
    for (std::size_t i = 0; i < count; ++i) {
        if (call(SYS_dup2, wanted[i], static_cast<long>(i)) < 0) return kStartFailed;
    }
    if (::syscall(SYS_close_range, static_cast<unsigned>(count), ~0U, 0U) < 0) return kStartFailed;
    forget_handlers();
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || ::getppid() != what.parent) return kStartFailed;
    char* const no_environment[] = {nullptr};
    ::execve(what.program, what.argv, no_environment);
    return kStartFailed;
}

/// A child in our memory, on a stack of its own, while this thread waits: a copy of the address space, and
/// the faults that it costs us afterwards, take longer than all else here (docs/measurements.md).
Result<std::pair<pid_t, UniqueFd>> start_in_our_memory(Becoming what) {
    alignas(16) std::array<std::byte, kStackBytes> stack;
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    int pidfd = -1;
    const int pid = ::__clone(&become, stack.data() + stack.size(),
                              CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &what, &pidfd);
    const Error failed = os_error("start process");
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (pid < 0) return failed;
    return std::pair{static_cast<pid_t>(pid), UniqueFd{pidfd}};
}

}  // namespace

Result<Child> Child::start(const std::string& program, const std::vector<std::string>& arguments,
                           const UniqueFd& handover, const Stdio& stdio) {
    if (::access(program.c_str(), X_OK) < 0) return os_error("find program to start");
    std::vector<char*> argv{const_cast<char*>(program.c_str())};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);

    auto [pid, pidfd] = HF_TRY(start_in_our_memory({.program = program.c_str(),
                                                    .argv = argv.data(),
                                                    .handover = handover.get(),
                                                    .stdio = stdio,
                                                    .parent = ::getpid()}));
    return Child{pid, std::move(pidfd)};
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
