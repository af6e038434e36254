// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/probe.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <string_view>

#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fd.hpp"
#include "sys/sandbox/landlock.hpp"
#include "sys/sandbox/namespaces.hpp"

namespace holdfast::sandbox {
namespace {

/// The errno with which `attempt` ends in a child of its own; 0 if it works.
int try_in_child(int (*attempt)()) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(attempt());
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) < 0) return errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

int try_user_namespace() { return ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 ? 0 : errno; }

int try_empty_root() {
    const auto left = leave_host_namespaces();
    if (!left) return left.error().os_errno;
    const auto emptied = empty_root();
    return emptied ? 0 : emptied.error().os_errno;
}

/// The first character of a small file under /proc/sys; '\0' where there is none.
char setting(const char* path) {
    const UniqueFd file{::open(path, O_RDONLY | O_CLOEXEC)};
    char first = '\0';
    if (!file || ::read(file.get(), &first, 1) != 1) return '\0';
    return first;
}

struct Switch {
    const char* path;
    char forbids;
    const char* fix;
};
// The places where a host forbids user namespaces or takes their rights away.
constexpr std::array kSwitches{
    Switch{"/proc/sys/user/max_user_namespaces", '0', "sysctl user.max_user_namespaces=15000"},
    Switch{"/proc/sys/kernel/unprivileged_userns_clone", '0', "sysctl kernel.unprivileged_userns_clone=1"},
    Switch{"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", '1',
           "an AppArmor profile with `userns,` for the holdfast programs, or "
           "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
};

Finding unsupported(const char* name, bool required, int error) {
    for (const Switch& one : kSwitches) {
        if (setting(one.path) != one.forbids) continue;
        return {name, false, required, std::string{one.path} + " is " + one.forbids, one.fix};
    }
    return {name, false, required, std::string{errno_name(error)},
            "a container or security module forbids it: run outside of it, or as root"};
}

Finding seccomp_finding() {
    const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action) == 0) {
        return {"seccomp", true, true, "filters, kill process", ""};
    }
    return {"seccomp", false, true, std::string{errno_name(errno)},
            "a kernel of 4.14 or later with CONFIG_SECCOMP_FILTER"};
}

Finding landlock_finding() {
    const int abi = landlock_abi();
    if (abi > 0) return {"landlock", true, false, "ABI " + std::to_string(abi), ""};
    return {"landlock", false, false, "not in this kernel, or not enabled at boot",
            "a kernel with CONFIG_SECURITY_LANDLOCK and `landlock` in the lsm= list"};
}

}  // namespace

std::vector<Finding> probe() {
    std::vector<Finding> findings;
    const int user = try_in_child(&try_user_namespace);
    const int root = try_in_child(&try_empty_root);
    // Root goes on without a user namespace, so what counts is whether the whole of it works.
    findings.push_back(user == 0 ? Finding{"user namespaces", true, false, "own user namespace", ""}
                                 : unsupported("user namespaces", root != 0, user));
    findings.push_back(root == 0 ? Finding{"empty root", true, true, "own namespaces, empty root", ""}
                                 : unsupported("empty root", true, root));
    findings.push_back(landlock_finding());
    findings.push_back(seccomp_finding());
    return findings;
}

}  // namespace holdfast::sandbox
