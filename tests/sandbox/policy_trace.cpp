// SPDX-License-Identifier: Apache-2.0
// policy-trace: runs a command under ptrace(2) and compares what our programs ask of the kernel with
// their policies. Says which call a filter kills, and keeps a record of the rules that were used, so
// that those no test needs can be found. A filter is recognized by its code when it is installed.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sandbox/compiler/emit.hpp"
#include "sys/sandbox/compiler/policy.hpp"

namespace {

using namespace holdfast::sandbox;
using compiler::Allowance;

constexpr const char* kUsage =
    "usage: policy-trace [--record FILE] -- COMMAND...   run it; add the rules it used to FILE\n"
    "       policy-trace --unused FILE                   list the rules that no recorded run used\n";

struct Policy {
    std::string name;
    std::vector<Allowance> allowances;
    std::vector<sock_filter> code;
};

std::vector<Policy> all_policies() {
    std::vector<Policy> policies;
    for (const auto& entry : std::filesystem::directory_iterator{HF_POLICY_DIR}) {
        Policy policy{.name = entry.path().stem(), .allowances = compiler::read_policy(entry.path())};
        policy.code = compiler::compile(policy.allowances);
        policies.push_back(std::move(policy));
    }
    std::ranges::sort(policies, {}, &Policy::name);
    return policies;
}

/// What a rule is called in a record. Rules of included files count for all who include them.
std::string key(const Allowance& allowance) {
    return allowance.where.substr(0, allowance.where.find(':')) + '\t' + allowance.text;
}

struct Thread {
    pid_t process = 0;
    std::vector<const Policy*> filters;
    const Policy* installing = nullptr;  ///< between the entry and the exit of seccomp(2)
    bool for_all_threads = false;
};

class Tracer {
public:
    explicit Tracer(const std::vector<Policy>& policies) : policies_{policies} {}

    /// Runs until every process it started has ended; the exit status of the first.
    int run(char** command) {
        const pid_t first = start(command);
        threads_[first] = {.process = first};
        ::ptrace(PTRACE_SYSCALL, first, nullptr, nullptr);
        int result = 1;
        int status = 0;
        for (pid_t tid = ::waitpid(-1, &status, __WALL); tid > 0; tid = ::waitpid(-1, &status, __WALL)) {
            if (WIFSTOPPED(status)) {
                stopped(tid, status);
                continue;
            }
            if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS && threads_.contains(tid)) {
                fmt::print(stderr, "policy-trace: process {} was killed by its filter\n", tid);
            }
            if (tid == first) result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            threads_.erase(tid);
        }
        return result;
    }

    std::set<std::string> used;
    bool violated = false;

private:
    static pid_t start(char** command) {
        const pid_t child = ::fork();
        if (child == 0) {
            ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
            ::raise(SIGSTOP);
            ::execvp(command[0], command);
            std::perror(command[0]);
            ::_exit(127);
        }
        int status = 0;
        ::waitpid(child, &status, __WALL);
        ::ptrace(PTRACE_SETOPTIONS, child, nullptr,
                 PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                     PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
        return child;
    }

    void stopped(pid_t tid, int status) {
        const int signal = WSTOPSIG(status);
        const int event = status >> 16;
        if (!threads_.contains(tid)) {
            early_.insert(tid);  // its maker's event says who it is; until then it waits
            return;
        }
        if (signal == (SIGTRAP | 0x80)) {
            at_call(tid);
        } else if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK) {
            born(tid, event == PTRACE_EVENT_CLONE);
        } else if (event == 0) {
            const bool first_stop = signal == SIGSTOP && fresh_.erase(tid) > 0;
            ::ptrace(PTRACE_SYSCALL, tid, nullptr, first_stop ? 0 : signal);
            return;
        }
        ::ptrace(PTRACE_SYSCALL, tid, nullptr, nullptr);
    }

    void born(pid_t maker, bool maybe_thread) {
        unsigned long message = 0;
        ::ptrace(PTRACE_GETEVENTMSG, maker, nullptr, &message);
        const auto tid = static_cast<pid_t>(message);
        Thread thread{.process = tid, .filters = threads_[maker].filters};
        const auto group = fmt::format("/proc/{}/task/{}", threads_[maker].process, tid);
        if (maybe_thread && std::filesystem::exists(group)) thread.process = threads_[maker].process;
        threads_[tid] = std::move(thread);
        if (early_.erase(tid) > 0) ::ptrace(PTRACE_SYSCALL, tid, nullptr, nullptr);
        else fresh_.insert(tid);
    }

    void at_call(pid_t tid) {
        __ptrace_syscall_info info{};
        if (::ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof info, &info) < 0) return;
        Thread& thread = threads_[tid];
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            entered(tid, thread, info.entry.nr, info.entry.args);
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
            const Policy* const installed = std::exchange(thread.installing, nullptr);
            if (installed != nullptr && info.exit.rval == 0) add_filter(tid, *installed);
        }
    }

    void entered(pid_t tid, Thread& thread, std::uint64_t number, const __uint64_t (&arguments)[6]) {
        const std::string call = name_of(number);
        const std::array<std::uint64_t, 6> copy{arguments[0], arguments[1], arguments[2],
                                                arguments[3], arguments[4], arguments[5]};
        for (const Policy* policy : thread.filters) {
            const auto found = std::ranges::find_if(policy->allowances, [&](const Allowance& one) {
                return one.call == call && one.matches(copy);
            });
            if (found != policy->allowances.end()) {
                used.insert(key(*found));
            } else {
                violated = true;
                fmt::print(
                    stderr,
                    "policy-trace: {} (thread {}): {}({:#x}, {:#x}, {:#x}, {:#x}) is not in {}.policy\n", tid,
                    thread_name(tid), call, copy[0], copy[1], copy[2], copy[3], policy->name);
            }
        }
        if (call == "seccomp" && copy[0] == SECCOMP_SET_MODE_FILTER) {
            thread.installing = recognize(tid, copy[2]);
            thread.for_all_threads = (copy[1] & SECCOMP_FILTER_FLAG_TSYNC) != 0;
        }
    }

    void add_filter(pid_t tid, const Policy& policy) {
        const Thread& by = threads_[tid];
        for (auto& [other_tid, other] : threads_) {
            if (other_tid == tid || (by.for_all_threads && other.process == by.process)) {
                other.filters.push_back(&policy);
            }
        }
    }

    const Policy* recognize(pid_t tid, std::uint64_t address) const {
        sock_fprog program{};
        std::vector<sock_filter> code(BPF_MAXINSNS);
        if (!peek(tid, address, &program, sizeof program) || program.len > code.size()) return nullptr;
        code.resize(program.len);
        if (!peek(tid, reinterpret_cast<std::uint64_t>(program.filter), code.data(),
                  code.size() * sizeof code[0]))
            return nullptr;
        for (const Policy& policy : policies_) {
            if (policy.code.size() == code.size() &&
                std::memcmp(policy.code.data(), code.data(), code.size() * sizeof code[0]) == 0) {
                return &policy;
            }
        }
        return nullptr;  // somebody else's filter
    }

    static bool peek(pid_t tid, std::uint64_t address, void* out, std::size_t size) {
        const iovec local{out, size};
        const iovec remote{reinterpret_cast<void*>(address), size};
        const bool whole = ::process_vm_readv(tid, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
        if (!whole) std::perror("policy-trace: read a filter (needs root: our programs are not dumpable)");
        return whole;
    }

    static std::string name_of(std::uint64_t number) {
        char* const name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number));
        std::string result = name != nullptr ? name : std::to_string(number);
        std::free(name);
        return result;
    }

    static std::string thread_name(pid_t tid) {
        std::ifstream file{fmt::format("/proc/{}/comm", tid)};
        std::string name;
        std::getline(file, name);
        return name;
    }

    const std::vector<Policy>& policies_;
    std::map<pid_t, Thread> threads_;
    std::set<pid_t> early_;  ///< stopped before its maker's event came
    std::set<pid_t> fresh_;  ///< its first SIGSTOP is still to come
};

int list_unused(const std::vector<Policy>& policies, const std::string& record) {
    std::ifstream file{record};
    std::set<std::string> used;
    for (std::string line; std::getline(file, line);) used.insert(line);
    if (used.empty()) {
        fmt::print(stderr, "policy-trace: {} records no run\n", record);
        return 2;
    }
    std::set<std::string> seen;
    int dead = 0;
    for (const Policy& policy : policies) {
        for (const Allowance& one : policy.allowances) {
            if (!one.rare.empty() || used.contains(key(one)) || !seen.insert(key(one)).second) continue;
            fmt::print("{}: {}: no test uses it: remove it, or mark it `rare:` with the reason\n", one.where,
                       one.text);
            ++dead;
        }
    }
    return dead == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) try {
    const std::vector<std::string> arguments{argv + 1, argv + argc};
    const auto policies = all_policies();
    if (arguments.size() == 2 && arguments[0] == "--unused") return list_unused(policies, arguments[1]);

    const bool record = arguments.size() > 2 && arguments[0] == "--record";
    const std::size_t dashes = record ? 2 : 0;
    if (arguments.size() < dashes + 2 || arguments[dashes] != "--") {
        std::fputs(kUsage, stderr);
        return 2;
    }
    Tracer tracer{policies};
    const int status = tracer.run(argv + 1 + dashes + 1);
    if (record) {
        std::ofstream file{arguments[1], std::ios::app};
        for (const std::string& one : tracer.used) file << one << '\n';
    }
    return tracer.violated && status == 0 ? 1 : status;
} catch (const std::exception& error) {
    fmt::print(stderr, "policy-trace: {}\n", error.what());
    return 2;
}
