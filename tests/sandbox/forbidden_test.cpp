// SPDX-License-Identifier: Apache-2.0
// Under each program's own jail and policy, forbidden calls kill the process, one child a call.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "jailed.hpp"
#include "sys/fd.hpp"
#include "sys/sandbox/policies.hpp"
#include "sys/sandbox/seccomp.hpp"

namespace holdfast::sandbox {
namespace {

constexpr Fate kFine{};
constexpr Fate kKilled{.signal = SIGSYS};

struct Forbidden {
    const char* name;
    long number;
    std::array<unsigned long, 6> arguments{};
};

// Harmless if they are let through: a test must not damage the machine of whoever breaks the jail.
const std::array kForbidden{
    Forbidden{"open", SYS_open, {0, 0}},
    Forbidden{"openat", SYS_openat, {~0UL, 0}},
    Forbidden{"socket", SYS_socket, {AF_INET, SOCK_STREAM}},
    Forbidden{"socketpair", SYS_socketpair, {}},
    Forbidden{"connect", SYS_connect, {~0UL}},
    Forbidden{"bind", SYS_bind, {~0UL}},
    Forbidden{"execve", SYS_execve, {0, 0, 0}},
    Forbidden{"fork", SYS_clone, {SIGCHLD}},
    Forbidden{"vfork", SYS_vfork, {}},
    Forbidden{"new namespace", SYS_unshare, {0}},
    Forbidden{"ptrace", SYS_ptrace, {~0UL}},
    Forbidden{"kill", SYS_kill, {1, 0}},
    Forbidden{"tgkill with another signal", SYS_tgkill, {1, 1, 0}},
    Forbidden{"mount", SYS_mount, {}},
    Forbidden{"bpf", SYS_bpf, {~0UL}},
    Forbidden{"keyctl", SYS_keyctl, {~0UL}},
    Forbidden{"add_key", SYS_add_key, {}},
    Forbidden{"io_uring_setup", SYS_io_uring_setup, {}},
    Forbidden{"io_uring_register", SYS_io_uring_register, {~0UL}},
    Forbidden{"userfaultfd", SYS_userfaultfd, {~0UL}},
    Forbidden{"perf_event_open", SYS_perf_event_open, {}},
    Forbidden{"process_vm_readv", SYS_process_vm_readv, {1}},
    Forbidden{"process_vm_writev", SYS_process_vm_writev, {1}},
    Forbidden{"mmap exec", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, ~0UL}},
    Forbidden{"mprotect exec", SYS_mprotect, {0, 0, PROT_EXEC}},
    Forbidden{"pidfd_open", SYS_pidfd_open, {0}},
    Forbidden{"pidfd_getfd", SYS_pidfd_getfd, {~0UL}},
    Forbidden{"setns", SYS_setns, {~0UL}},
    Forbidden{"prctl", SYS_prctl, {4 /* PR_SET_DUMPABLE */, 1}},
    Forbidden{"TIOCSTI", SYS_ioctl, {0, 0x5412, 0}},
    Forbidden{"unknown number", 1000, {}},
};

int make(const Forbidden& call) {
    const auto& a = call.arguments;
    ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return 0;
}

class Program : public testing::TestWithParam<const Filter*> {};

TEST_P(Program, DiesOfEveryForbiddenCall) {
    for (const Forbidden& call : kForbidden) {
        EXPECT_EQ(jailed(*GetParam(), [&] { return make(call); }), kKilled) << call.name;
    }
}

TEST_P(Program, LivesOnOrdinaryMemoryAndDescriptors) {
    const UniqueFd event{::eventfd(0, EFD_CLOEXEC)};
    EXPECT_EQ(jailed(*GetParam(),
                     [&] {
                         std::uint64_t one = 1;
                         if (::write(event.get(), &one, sizeof one) != sizeof one) return 1;
                         if (::read(event.get(), &one, sizeof one) != sizeof one) return 2;
                         const std::string large(4 << 20, 'x');  // by mmap
                         return large[12345] == 'x' ? 0 : 3;
                     },
                     {event.get()}),
              kFine);
}

TEST_P(Program, AbortIsStillAbort) {
    EXPECT_EQ(jailed(*GetParam(), []() -> int { std::abort(); }), Fate{.signal = SIGABRT});
}

INSTANTIATE_TEST_SUITE_P(Each, Program,
                         testing::Values(&policy::vmm, &policy::io, &policy::vtpm, &policy::store,
                                         &policy::anchor, &policy::broker),
                         [](const auto& param) { return std::string{param.param->name}; });

TEST(Vmm, StartsThreadsAndRunsKvm) {
    EXPECT_EQ(jailed(policy::vmm,
                     [] {
                         int result = 1;
                         std::thread{[&] { result = 0; }}.join();
                         return result;
                     }),
              kFine);
}

// The state file is the one thing of the host that holdfast-store has; holdfast-vtpm has none.
TEST(Vtpm, HasNoFilesAndItsStoreNoClients) {
    const auto dies = [](const Filter& filter, long number) {
        return jailed(filter, [&] {
                   ::syscall(number, -1, 0, 0, 0, 0);
                   return 0;
               }) == kKilled;
    };
    for (const long call :
         {SYS_pwrite64, SYS_pread64, SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_flock}) {
        EXPECT_TRUE(dies(policy::vtpm, call)) << call;
    }
    for (const long call : {SYS_accept4, SYS_recvmsg, SYS_sendto, SYS_clone, SYS_ftruncate, SYS_fallocate,
                            SYS_unlink, SYS_sync_file_range}) {
        EXPECT_TRUE(dies(policy::store, call)) << call;
    }
}

TEST(Vmm, OnceTheGuestRunsTheMachineIsFixed) {
    const auto running = [](const auto& act) {
        return jailed(policy::vmm, [&] {
            if (!install(policy::vmm_run, Scope::AllThreads)) return 1;
            act();
            return 0;
        });
    };
    EXPECT_EQ(running([] { ::syscall(SYS_accept4, -1, nullptr, nullptr, 0); }), kFine);
    EXPECT_EQ(running([] { ::ioctl(-1, KVM_CREATE_VCPU, 0UL); }), kKilled);
    EXPECT_EQ(running([] { ::syscall(SYS_memfd_create, nullptr, 0); }), kKilled);
    EXPECT_EQ(running([] { std::thread{[] {}}.join(); }), kKilled);
}

TEST(Vmm, AVcpuThreadIsTighterThanItsProcess) {
    const auto in_vcpu = [](const auto& act) {
        return jailed(policy::vmm, [&] {
            std::thread{[&] {
                if (!install(policy::vmm_vcpu, Scope::ThisThread)) ::_exit(1);
                act();
            }}.join();
            return 0;
        });
    };
    EXPECT_EQ(in_vcpu([] { ::ioctl(-1, KVM_RUN, 0UL); }), kFine);
    EXPECT_EQ(in_vcpu([] { ::syscall(SYS_accept4, -1, nullptr, nullptr, 0); }), kKilled);
    EXPECT_EQ(in_vcpu([] { std::thread{[] {}}.join(); }), kKilled);
    EXPECT_EQ(in_vcpu([] { ::syscall(SYS_recvmsg, -1, nullptr, 0); }), kKilled);
    EXPECT_EQ(jailed(policy::vmm,
                     [] {
                         ::syscall(SYS_accept4, -1, nullptr, nullptr, 0);
                         return 0;
                     }),
              kFine);
}

TEST(Vmm, AThreadMayTightenAllOthersAtOnce) {
    EXPECT_EQ(jailed(policy::vmm,
                     [] {
                         if (!install(policy::vmm_vcpu, Scope::AllThreads)) return 1;
                         ::syscall(SYS_accept4, -1, nullptr, nullptr, 0);
                         return 2;
                     }),
              kKilled);
}

}  // namespace
}  // namespace holdfast::sandbox
