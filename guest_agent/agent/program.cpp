// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/program.hpp"

#include <csignal>

#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace holdfast::agent {
namespace {

/// In the child, between fork and exec: system calls only.
[[noreturn]] void become(char* const* words) {
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    static char home[] = "HOME=/";
    static char terminal[] = "TERM=linux";
    static char* const environment[] = {path, home, terminal, nullptr};
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    ::setsid();
    ::ioctl(0, TIOCSCTTY, 1);
    ::execve(words[0], words, environment);
    static constexpr char kFailed[] = "holdfast-agent: the program cannot be executed\n";
    [[maybe_unused]] const ssize_t wrote = ::write(2, kFailed, sizeof kFailed - 1);
    ::_exit(127);
}

}  // namespace

Result<pid_t> start_program(const std::string& path, const std::vector<std::string>& arguments) {
    std::vector<std::string> owned{path};
    owned.insert(owned.end(), arguments.begin(), arguments.end());
    std::vector<char*> words;
    for (std::string& word : owned) words.push_back(word.data());
    words.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid < 0) return os_error("fork");
    if (pid == 0) become(words.data());
    return pid;
}

int status_of(int wait_status) noexcept {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace holdfast::agent
