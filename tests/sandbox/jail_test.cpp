// SPDX-License-Identifier: Apache-2.0
// What holds in the jail by namespaces, the empty root, capabilities, limits and Landlock: tried
// under a filter that lets everything through, so that each refusal is the object's and not seccomp's.
// Every act is harmless where nothing refuses it: whoever breaks the jail runs these on a real host.
#include "sys/sandbox/jail.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <linux/kvm.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jailed.hpp"
#include "sys/fd.hpp"
#include "sys/pipe.hpp"
#include "sys/sandbox/landlock.hpp"
#include "sys/sandbox/probe.hpp"
#include "sys/thread.hpp"

namespace holdfast::sandbox {
namespace policy {
extern const Filter wide;
}
namespace {

constexpr Fate kFine{};
Fate ended_with(int status) { return {.status = status}; }

/// errno of a call that should fail; 0 if it worked.
int refusal(long rc) { return rc < 0 ? errno : 0; }

TEST(Jail, NothingOfTheHostsFilesIsThere) {
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::open("/proc/self/status", O_RDONLY)); }),
              ended_with(EACCES));
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::open("/etc/passwd", O_RDONLY)); }),
              ended_with(EACCES));
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::open("/../etc", O_RDONLY | O_DIRECTORY)); }),
              ended_with(EACCES));
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::open(".", O_TMPFILE | O_RDWR, 0600)); }),
              ended_with(EACCES));
}

// The same without the permission bits in front: the root is empty and read-only whoever asks.
TEST(Jail, TheRootIsReadOnlyAndOfNoDevice) {
    EXPECT_EQ(jailed(policy::wide,
                     [] {
                         struct stat root{};
                         if (::stat("/", &root) < 0) return errno;
                         return root.st_nlink == 2 && (root.st_mode & 07777) == 0 ? 0 : 1;
                     }),
              kFine);
    EXPECT_EQ(jailed(policy::wide,
                     [] {
                         struct statvfs root{};
                         if (::statvfs("/", &root) < 0) return errno;
                         constexpr unsigned long kFlags = ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC;
                         return (root.f_flag & kFlags) == kFlags ? 0 : 1;
                     }),
              kFine);
}

TEST(Jail, OnlyTheListedDescriptorsStayOpen) {
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    const UniqueFd kept = std::move(pipe->reading);
    const UniqueFd other = std::move(pipe->writing);
    EXPECT_EQ(jailed(policy::wide, [&] { return refusal(::fcntl(kept.get(), F_GETFD)); }, {kept.get()}),
              kFine);
    EXPECT_EQ(jailed(policy::wide, [&] { return refusal(::fcntl(other.get(), F_GETFD)); }, {kept.get()}),
              ended_with(EBADF));
}

TEST(Jail, AListedDescriptorThatIsNotOpenIsAnError) {
    constexpr int kNotOpen = 200;
    EXPECT_EQ(jailed(policy::wide, [] { return 0; }, {kNotOpen}), ended_with(kNoJail));
}

TEST(Jail, AnOpenDirectoryIsAnError) {
    const UniqueFd directory{::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    EXPECT_EQ(jailed(policy::wide, [] { return 0; }, {directory.get()}), ended_with(kNoJail));
}

TEST(Jail, NoCapabilityIsLeftAndNoneComesBack) {
    EXPECT_EQ(
        jailed(policy::wide,
               [] {
                   __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
                   std::array<__user_cap_data_struct, 2> held{};
                   if (::syscall(SYS_capget, &header, held.data()) < 0) return 1;
                   for (const auto& word : held) {
                       if ((word.effective | word.permitted | word.inheritable) != 0) return 2;
                   }
                   for (unsigned long capability = 0; capability <= CAP_LAST_CAP; ++capability) {
                       if (::prctl(PR_CAPBSET_READ, capability) != 0) return 3;
                   }
                   if (::prctl(PR_SET_SECUREBITS, 0UL) == 0 || ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
                       return 4;
                   held[0].effective = held[0].permitted = 1U << CAP_CHOWN;
                   return ::syscall(SYS_capset, &header, held.data()) < 0 ? 0 : 5;
               }),
        kFine);
}

TEST(Jail, ItIsNotDumpableAndLeavesNoCore) {
    EXPECT_EQ(jailed(policy::wide, [] { return ::prctl(PR_GET_DUMPABLE); }), kFine);
    EXPECT_EQ(jailed(policy::wide,
                     [] {
                         rlimit core{};
                         if (::getrlimit(RLIMIT_CORE, &core) < 0) return 1;
                         return core.rlim_max == 0 ? 0 : 2;
                     }),
              kFine);
}

TEST(Jail, TheHostsNetworkIsOutOfReach) {
    EXPECT_EQ(jailed(policy::wide,
                     [] {
                         const int fd = ::socket(AF_INET, SOCK_DGRAM, 0);
                         sockaddr_in peer{.sin_family = AF_INET,
                                          .sin_port = htons(9),
                                          .sin_addr = {htonl(INADDR_LOOPBACK)}};
                         return refusal(::connect(fd, reinterpret_cast<const sockaddr*>(&peer), sizeof peer));
                     }),
              ended_with(ENETUNREACH));
}

TEST(Jail, TcpIsRefusedByLandlockToo) {
    if (landlock_abi() < 4) GTEST_SKIP() << "skip: no Landlock ABI 4 (TCP)";
    EXPECT_EQ(jailed(policy::wide,
                     [] {
                         const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
                         sockaddr_in own{
                             .sin_family = AF_INET, .sin_port = htons(4711), .sin_addr = {htonl(INADDR_ANY)}};
                         return refusal(::bind(fd, reinterpret_cast<const sockaddr*>(&own), sizeof own));
                     }),
              ended_with(EACCES));
}

TEST(Jail, MountsAndNewNamespacesAreRefused) {
    // Rights are asked for before the type is looked up; outside a jail this mounts nothing either.
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::mount("none", "/", "no such type", 0, nullptr)); }),
              ended_with(EPERM));
    EXPECT_EQ(jailed(policy::wide, [] { return refusal(::unshare(CLONE_NEWNS)); }), ended_with(EPERM));
}

TEST(Jail, OtherProcessesCannotBeReadOrSignalled) {
    const pid_t parent = ::getpid();
    EXPECT_EQ(jailed(policy::wide, [=] { return refusal(::ptrace(PTRACE_SEIZE, parent, nullptr, nullptr)); }),
              ended_with(EPERM));
    EXPECT_EQ(jailed(policy::wide,
                     [=] {
                         std::array<char, 8> here{};
                         const iovec local{here.data(), here.size()};
                         const iovec remote{const_cast<char*>("remote"), 6};
                         return refusal(::syscall(SYS_process_vm_readv, parent, &local, 1, &remote, 1, 0));
                     }),
              ended_with(EPERM));
    if (landlock_abi() < 6) GTEST_SKIP() << "skip: no Landlock ABI 6 (signals)";
    EXPECT_EQ(jailed(policy::wide, [=] { return refusal(::kill(parent, SIGURG)); }), ended_with(EPERM));
}

TEST(Jail, ItEndsWithItsParent) {
    // parent -> middle (dies) -> jailed, which holds the pipe's write end until it is killed.
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    const UniqueFd read_end = std::move(pipe->reading);
    UniqueFd write_end = std::move(pipe->writing);
    const pid_t middle = ::fork();
    if (middle == 0) {
        if (::fork() == 0) {
            const std::array keep{0, 1, 2, write_end.get()};
            if (::prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) ::_exit(1);
            if (!enter({.filter = policy::wide, .keep = keep})) ::_exit(1);
            const char ready = '1';
            if (::write(write_end.get(), &ready, 1) != 1) ::_exit(1);
            (void)::syscall(SYS_futex, &ready, 0, '1', nullptr, nullptr, 0);  // for ever
            for (;;) {
            }
        }
        char ready = 0;
        ::_exit(::read(read_end.get(), &ready, 1) == 1 ? 0 : 1);
    }
    write_end.reset();
    int status = -1;
    ASSERT_EQ(::waitpid(middle, &status, 0), middle);
    EXPECT_EQ(status, 0);
    char end = 0;
    EXPECT_EQ(::read(read_end.get(), &end, 1), 0);  // end of file: its last holder is gone
}

TEST(Jail, KvmDescriptorsKeepWorking) {
    const UniqueFd kvm{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    if (!kvm) GTEST_SKIP() << "skip: no /dev/kvm";
    const int vm = ::ioctl(kvm.get(), KVM_CREATE_VM, 0UL);
    ASSERT_GE(vm, 0);
    const UniqueFd owned{vm};
    EXPECT_EQ(
        jailed(policy::wide, [&] { return refusal(::ioctl(kvm.get(), KVM_CREATE_VM, 0UL)); }, {kvm.get()}),
        kFine);
}

TEST(Jail, ASecondThreadIsRefusedInsteadOfLeftOutside) {
    EXPECT_EQ(jailed(policy::wide, [] { return 0; }), kFine);
    const pid_t child = ::fork();
    if (child == 0) {
        std::thread other{[] { ::pause(); }};
        const std::array keep{0, 1, 2};
        const auto entered = enter({.filter = policy::wide, .keep = keep});
        ::_exit(!entered && entered.error().os_errno == EINVAL ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
}

TEST(Probe, AgreesWithWhatTheOtherTestsFound) {
    for (const Finding& finding : probe()) {
        EXPECT_TRUE(finding.supported || !finding.required) << finding.name << ": " << finding.detail;
        EXPECT_EQ(finding.supported, finding.fix.empty()) << finding.name;
    }
}

}  // namespace
}  // namespace holdfast::sandbox
