// SPDX-License-Identifier: Apache-2.0
#include "sys/sandbox/namespaces.hpp"

#include <cerrno>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/fd.hpp"

namespace holdfast::sandbox {
namespace {

// CLONE_THREAD asks the kernel to refuse when there is a second thread, which none of the later
// steps would reach (capabilities and filters belong to threads).
constexpr int kNamespaces =
    CLONE_THREAD | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

// The one id that exists inside is 1000: not 0, which means something to code and to securebits.
std::string only(unsigned outer_id) { return "1000 " + std::to_string(outer_id) + " 1"; }

Result<void> write_file(const char* path, std::string_view text, const char* what) {
    const UniqueFd file{::open(path, O_WRONLY | O_CLOEXEC)};
    if (!file || ::write(file.get(), text.data(), text.size()) < 0) return os_error(what);
    return {};
}

Result<void> map_ids(uid_t uid, gid_t gid) {
    // Without this line an unprivileged process may not map a group (user_namespaces(7)).
    HF_TRY(write_file("/proc/self/setgroups", "deny", "deny setgroups in the user namespace"));
    HF_TRY(write_file("/proc/self/uid_map", only(uid), "map the user id"));
    HF_TRY(write_file("/proc/self/gid_map", only(gid), "map the group id"));
    return {};
}

Result<UniqueFd> empty_file_system() {
    const UniqueFd context{static_cast<int>(::syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC))};
    if (!context) {
        return os_error(errno == EPERM
                            ? "mount in our own user namespace (AppArmor or another security module "
                              "forbids it; `holdfast doctor` says how to allow it)"
                            : "open tmpfs");
    }
    const auto configure = [&](unsigned command, const char* key, const char* value) {
        return ::syscall(SYS_fsconfig, context.get(), command, key, value, 0);
    };
    if (configure(FSCONFIG_SET_STRING, "mode", "0") < 0 || configure(FSCONFIG_SET_FLAG, "ro", nullptr) < 0 ||
        configure(FSCONFIG_CMD_CREATE, nullptr, nullptr) < 0) {
        return os_error("create the empty tmpfs");
    }
    constexpr unsigned kAttributes =
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    UniqueFd mount{static_cast<int>(::syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, kAttributes))};
    if (!mount) return os_error("mount the empty tmpfs");
    return mount;
}

}  // namespace

Result<UserNamespace> leave_host_namespaces() {
    const uid_t uid = ::geteuid();
    const gid_t gid = ::getegid();
    if (::unshare(CLONE_NEWUSER | kNamespaces) == 0) {
        HF_TRY(map_ids(uid, gid));
        return UserNamespace::Own;
    }
    const Error refused = os_error(
        errno == EINVAL
            ? "leave the host's namespaces (this must happen before the first thread starts)"
            : "create a user namespace (`holdfast doctor` says what forbids it and how to allow it)");
    // Root has the rights for the other namespaces by itself.
    if (uid != 0 || ::unshare(kNamespaces) < 0) return refused;
    return UserNamespace::Hosts;
}

Result<void> empty_root() {
    // A namespace that shares our host's user namespace also shares its mount events: end that
    // first, or the pivot would be refused.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) < 0) {
        return os_error("make our mounts private");
    }
    const UniqueFd root = HF_TRY(empty_file_system());
    // Over "/" itself, so that no directory of the host needs to exist. Our root stays the old one
    // until pivot_root exchanges the two; then the old one lies on top of "." and is detached.
    if (::syscall(SYS_move_mount, root.get(), "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0 ||
        ::fchdir(root.get()) < 0 || ::syscall(SYS_pivot_root, ".", ".") < 0 ||
        ::umount2(".", MNT_DETACH) < 0 || ::chdir("/") < 0) {
        return os_error("change to the empty root");
    }
    return {};
}

}  // namespace holdfast::sandbox
