// SPDX-License-Identifier: Apache-2.0
// jail-cost: what entering the jail adds to a launch, step by step (docs/sandbox.md, "What it costs").
// Each round is a fresh child, because a process can enter only once.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <vector>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/landlock.hpp"
#include "sys/sandbox/namespaces.hpp"
#include "sys/sandbox/policies.hpp"
#include "sys/sandbox/seccomp.hpp"

namespace {

using namespace holdfast::sandbox;
using Clock = std::chrono::steady_clock;
using Micros = std::chrono::duration<double, std::micro>;

constexpr int kRounds = 300;
constexpr std::array kSteps{"namespaces and id maps", "empty root", "Landlock", "seccomp filter",
                            "enter(), all of it"};
using Times = std::array<double, kSteps.size()>;

template <typename Step>
double timed(Step&& step) {
    const auto start = Clock::now();
    if (!step()) ::_exit(1);
    return Micros{Clock::now() - start}.count();
}

/// What `round` returns in a child of its own, by way of a pipe.
template <typename Round>
bool in_child(Round&& round, Times& times) {
    std::array<int, 2> pipe{};
    if (::pipe(pipe.data()) < 0) return false;
    const pid_t child = ::fork();
    if (child == 0) {
        round(times, pipe[1]);
        ::_exit(::write(pipe[1], &times, sizeof times) == sizeof times ? 0 : 1);
    }
    ::close(pipe[1]);
    const bool whole = ::read(pipe[0], &times, sizeof times) == sizeof times;
    ::close(pipe[0]);
    ::waitpid(child, nullptr, 0);
    return whole;
}

}  // namespace

int main() {
    std::array<std::vector<double>, kSteps.size()> all;
    for (int i = 0; i < kRounds; ++i) {
        Times times{};
        const bool steps = in_child(
            [](Times& out, int) {
                out[0] = timed([] { return leave_host_namespaces(); });
                out[1] = timed([] { return empty_root(); });
                ::prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL);
                out[2] = timed([] { return landlock_deny_all(); });
                out[3] = timed([] { return install(policy::io, Scope::ThisThread); });
            },
            times);
        const bool whole = in_child(
            [](Times& out, int keep) {
                const std::array open{0, 1, 2, keep};
                out[4] = timed([&] { return enter({.filter = policy::io, .keep = open}); });
            },
            times);
        if (!steps || !whole) return 1;
        for (std::size_t step = 0; step < times.size(); ++step) all[step].push_back(times[step]);
    }
    std::printf("%-24s %10s %10s %10s   (microseconds, %d rounds)\n", "step", "10th %", "median", "90th %",
                kRounds);
    for (std::size_t step = 0; step < all.size(); ++step) {
        auto& values = all[step];
        std::ranges::sort(values);
        std::printf("%-24s %10.0f %10.0f %10.0f\n", kSteps[step], values[values.size() / 10],
                    values[values.size() / 2], values[values.size() * 9 / 10]);
    }
    return 0;
}
