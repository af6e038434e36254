// SPDX-License-Identifier: Apache-2.0
// The compiled filters, evaluated without installing them.
#include "sys/sandbox/policies.hpp"

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "bpf.hpp"
#include "sys/sandbox/compiler/emit.hpp"
#include "sys/sandbox/compiler/policy.hpp"

namespace holdfast::sandbox {
namespace {

using Arguments = std::array<std::uint64_t, 6>;

const std::array kFilters{&policy::vmm,  &policy::vmm_run, &policy::vmm_vcpu, &policy::io,
                          &policy::vtpm, &policy::store,   &policy::anchor,   &policy::broker};

std::uint32_t ask(const Filter& filter, int number, const Arguments& arguments = {}) {
    return verdict(filter.code, {.number = number, .arguments = arguments});
}

std::vector<compiler::Allowance> policy_of(const Filter& filter) {
    return compiler::read_policy(std::string{HF_POLICY_DIR} + "/" + filter.name + ".policy");
}

/// Arguments for which an allowance holds.
Arguments arguments_for(const compiler::Allowance& allowance) {
    Arguments arguments{};
    for (const compiler::Compare& compare : allowance.conditions) arguments[compare.argument] = compare.value;
    return arguments;
}

TEST(Filters, AllowWhatTheirPolicyLists) {
    for (const Filter* filter : kFilters) {
        for (const compiler::Allowance& allowance : policy_of(*filter)) {
            const auto wanted = allowance.fails_with
                                    ? SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(*allowance.fails_with)
                                    : SECCOMP_RET_ALLOW;
            EXPECT_EQ(ask(*filter, compiler::call_number(allowance), arguments_for(allowance)), wanted)
                << filter->name << ": " << allowance.text;
        }
    }
}

TEST(Filters, KillEveryCallTheirPolicyDoesNotList) {
    constexpr int kPastTheLastNumber = 600;
    for (const Filter* filter : kFilters) {
        const auto allowances = policy_of(*filter);
        for (int number = 0; number < kPastTheLastNumber; ++number) {
            const bool listed = std::ranges::any_of(
                allowances, [&](const auto& one) { return compiler::call_number(one) == number; });
            if (listed) continue;
            EXPECT_EQ(ask(*filter, number), SECCOMP_RET_KILL_PROCESS) << filter->name << ": " << number;
        }
    }
}

TEST(Filters, AnyBitOfAComparedArgumentThatDiffersKills) {
    for (const Filter* filter : kFilters) {
        const auto allowances = policy_of(*filter);
        for (const compiler::Allowance& allowance : allowances) {
            for (const compiler::Compare& compare : allowance.conditions) {
                for (unsigned bit = 0; bit < 64; ++bit) {
                    if ((compare.mask >> bit & 1) == 0) continue;
                    Arguments arguments = arguments_for(allowance);
                    arguments[compare.argument] ^= 1ULL << bit;
                    const bool other_rule = std::ranges::any_of(allowances, [&](const auto& one) {
                        return one.call == allowance.call && one.matches(arguments);
                    });
                    if (other_rule) continue;
                    EXPECT_EQ(ask(*filter, compiler::call_number(allowance), arguments),
                              SECCOMP_RET_KILL_PROCESS)
                        << filter->name << ": " << allowance.text << " with bit " << bit << " flipped";
                }
            }
        }
    }
}

TEST(Filters, CallsOfOtherArchitecturesKill) {
    constexpr std::uint32_t kI386 = 0x40000003;
    constexpr int kX32 = 0x40000000;
    for (const Filter* filter : kFilters) {
        EXPECT_EQ(verdict(filter->code, {.number = SYS_read, .architecture = kI386}),
                  SECCOMP_RET_KILL_PROCESS);
        EXPECT_EQ(ask(*filter, kX32 | SYS_read), SECCOMP_RET_KILL_PROCESS);
    }
}

TEST(Filters, NoneCanMakeMemoryExecutable) {
    for (const Filter* filter : kFilters) {
        EXPECT_EQ(ask(*filter, SYS_mmap, {0, 4096, PROT_READ | PROT_WRITE}), SECCOMP_RET_ALLOW);
        EXPECT_EQ(ask(*filter, SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC}), SECCOMP_RET_KILL_PROCESS);
        EXPECT_EQ(ask(*filter, SYS_mprotect, {0, 4096, PROT_EXEC}), SECCOMP_RET_KILL_PROCESS);
    }
}

TEST(Filters, NoneCanReachFilesProcessesOrTheNetwork) {
    for (const Filter* filter : kFilters) {
        for (const int number : {SYS_open,
                                 SYS_openat,
                                 SYS_openat2,
                                 SYS_socket,
                                 SYS_connect,
                                 SYS_bind,
                                 SYS_execve,
                                 SYS_execveat,
                                 SYS_fork,
                                 SYS_vfork,
                                 SYS_ptrace,
                                 SYS_kill,
                                 SYS_tkill,
                                 SYS_process_vm_readv,
                                 SYS_mount,
                                 SYS_unshare,
                                 SYS_setns,
                                 SYS_bpf,
                                 SYS_keyctl,
                                 SYS_userfaultfd,
                                 SYS_perf_event_open,
                                 SYS_io_uring_setup,
                                 SYS_io_uring_register,
                                 SYS_pidfd_open}) {
            EXPECT_EQ(ask(*filter, number), SECCOMP_RET_KILL_PROCESS) << filter->name << ": " << number;
        }
    }
}

TEST(Filters, AVcpuRunsItsGuestAndMakesNoThreads) {
    EXPECT_EQ(ask(policy::vmm_vcpu, SYS_ioctl, {7, KVM_RUN}), SECCOMP_RET_ALLOW);
    EXPECT_EQ(ask(policy::vmm_vcpu, SYS_ioctl, {7, KVM_CREATE_VCPU}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm_vcpu, SYS_clone, {CLONE_VM | CLONE_THREAD}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm_vcpu, SYS_accept4), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm_run, SYS_clone, {CLONE_VM | CLONE_THREAD}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm_run, SYS_ioctl, {7, KVM_CREATE_VCPU}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm, SYS_clone, {SIGCHLD}), SECCOMP_RET_KILL_PROCESS);
    EXPECT_EQ(ask(policy::vmm, SYS_clone, {CLONE_NEWUSER | SIGCHLD}), SECCOMP_RET_KILL_PROCESS);
}

// Filters add up: a call that only the later one lists would be killed by the earlier.
TEST(Filters, ALaterFilterOnlyTakesAway) {
    constexpr std::array<std::pair<const Filter*, const Filter*>, 2> kStacked{
        {{&policy::vmm, &policy::vmm_run}, {&policy::vmm_run, &policy::vmm_vcpu}}};
    for (const auto& [earlier, later] : kStacked) {
        for (const compiler::Allowance& allowance : policy_of(*later)) {
            EXPECT_EQ(ask(*earlier, compiler::call_number(allowance), arguments_for(allowance)),
                      SECCOMP_RET_ALLOW)
                << allowance.where << ": " << allowance.text;
        }
    }
}

// C++ computes this number wrongly (symbols.cpp); the filter must know the kernel's.
TEST(Filters, RequestsWithAFlexibleArrayHaveTheNumberOfTheCHeader) {
    EXPECT_EQ(ask(policy::vmm, SYS_ioctl, {7, 0x4008ae89}), SECCOMP_RET_ALLOW);  // KVM_SET_MSRS
    EXPECT_EQ(ask(policy::vmm, SYS_ioctl, {7, 0x4008ae6a}), SECCOMP_RET_ALLOW);  // KVM_SET_GSI_ROUTING
}

}  // namespace
}  // namespace holdfast::sandbox
