// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/jail.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/log.hpp"
#include "sys/sandbox/landlock.hpp"
#include "sys/sandbox/namespaces.hpp"
#include "sys/sandbox/seccomp.hpp"

namespace holdfast::sandbox {
namespace {

Result<void> close_range(unsigned first, unsigned last) {
    if (first <= last && ::syscall(SYS_close_range, first, last, 0U) < 0) {
        return os_error("close unexpected descriptors");
    }
    return {};
}

Result<void> close_all_but(std::span<const int> keep) {
    if (keep.empty()) return {};
    std::vector<int> sorted{keep.begin(), keep.end()};
    std::ranges::sort(sorted);
    unsigned next = 0;
    for (const int fd : sorted) {
        if (::fcntl(fd, F_GETFD) < 0) return os_error("check a descriptor that should be open");
        const auto number = static_cast<unsigned>(fd);
        if (number > next) HF_TRY(close_range(next, number - 1));
        next = number + 1;
    }
    return close_range(next, ~0U);
}

/// *at() calls and fchdir on a directory would reach the host's files in spite of the empty root.
Result<void> expect_no_directories() {
    const std::unique_ptr<DIR, int (*)(DIR*)> open{::opendir("/proc/self/fd"), &::closedir};
    if (!open) return os_error("list open descriptors in /proc");
    while (const dirent* const entry = ::readdir(open.get())) {
        if (entry->d_name[0] == '.') continue;
        const int fd = std::atoi(entry->d_name);
        struct stat status{};
        if (fd == ::dirfd(open.get()) || ::fstat(fd, &status) < 0) continue;
        if (S_ISDIR(status.st_mode)) return input_error("a directory is open at the door of the jail");
    }
    return {};
}

Result<void> ignore_signals(std::span<const int> signals) {
    for (const int signal : signals) {
        if (::signal(signal, SIG_IGN) == SIG_ERR) return os_error("ignore a signal");
    }
    return {};
}

Result<void> limit(__rlimit_resource resource, std::uint64_t most, const char* what) {
    rlimit limits{};
    if (::getrlimit(resource, &limits) < 0) return os_error(what);
    limits.rlim_max = std::min<rlim_t>(limits.rlim_max, most);  // raising needs a capability
    limits.rlim_cur = limits.rlim_max;
    if (::setrlimit(resource, &limits) < 0) return os_error(what);
    return {};
}

Result<void> set_limits(const Profile& profile) {
    HF_TRY(limit(RLIMIT_CORE, 0, "limit core dumps"));
    HF_TRY(limit(RLIMIT_NOFILE, profile.max_descriptors, "limit descriptors"));
    return limit(RLIMIT_NPROC, profile.max_threads, "limit threads");
}

// With these, uid 0 and ids that change give no capability any more, and none of it can be undone.
constexpr unsigned long kSecureBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                      SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                      SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;

Result<void> drop_capabilities() {
    // The kernel may know capabilities that our headers do not: go on until it says EINVAL.
    constexpr unsigned long kMost = 64;
    for (unsigned long capability = 0; capability < kMost; ++capability) {
        if (::prctl(PR_CAPBSET_DROP, capability, 0UL, 0UL, 0UL) < 0) {
            if (errno == EINVAL && capability > CAP_LAST_CAP) break;
            return os_error("drop the capability bounding set");
        }
    }
    if (::prctl(PR_CAP_AMBIENT, static_cast<unsigned long>(PR_CAP_AMBIENT_CLEAR_ALL), 0UL, 0UL, 0UL) < 0) {
        return os_error("clear ambient capabilities");
    }
    if (::prctl(PR_SET_SECUREBITS, kSecureBits, 0UL, 0UL, 0UL) < 0) return os_error("lock securebits");
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    const std::array<__user_cap_data_struct, 2> none{};
    if (::syscall(SYS_capset, &header, none.data()) < 0) return os_error("drop capabilities");
    return {};
}

Result<void> set_flag(int option, unsigned long value, const char* what) {
    if (::prctl(option, value, 0UL, 0UL, 0UL) < 0) return os_error(what);
    return {};
}

/// A thread's own arena of the heap is one that glibc shrinks, and for that it opens a file of /proc; how
/// many there may be it asks a file of /sys. Neither is there, and asking is death.
Result<void> keep_to_one_arena() {
    if (::mallopt(M_ARENA_MAX, 1) != 1) return Error{Fault::Os, 0, "set up the heap"};
    return {};
}

}  // namespace

Result<void> enter(const Profile& profile) {
    HF_TRY(keep_to_one_arena());
    HF_TRY(close_all_but(profile.keep));
    HF_TRY(expect_no_directories());
    HF_TRY(ignore_signals(profile.ignored_signals));
    const UserNamespace user = HF_TRY(leave_host_namespaces());
    HF_TRY(empty_root());
    HF_TRY(set_limits(profile));
    HF_TRY(drop_capabilities());
    HF_TRY(set_flag(PR_SET_NO_NEW_PRIVS, 1, "set no_new_privs"));
    // Not before the id maps: the files in /proc of a process that is not dumpable belong to root.
    HF_TRY(set_flag(PR_SET_DUMPABLE, 0, "become not dumpable"));
    const int abi = HF_TRY(landlock_deny_all());
    HF_TRY(install(profile.filter, Scope::ThisThread));
    if (abi == 0) log::warn("jail.no_landlock", {{"policy", profile.filter.name}});
    if (user == UserNamespace::Hosts) log::warn("jail.no_user_namespace", {{"policy", profile.filter.name}});
    return {};
}

}  // namespace holdfast::sandbox
