// SPDX-License-Identifier: Apache-2.0
#include "sys/unswapped_file.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

namespace holdfast {

Result<UniqueFd> unswapped_file(std::uint64_t size) {
    const UniqueFd context{::fsopen("tmpfs", FSOPEN_CLOEXEC)};
    if (!context) return os_error("fsopen tmpfs");
    const auto set = [&](unsigned command, const char* key, const char* value) {
        return ::fsconfig(context.get(), command, key, value, 0) == 0;
    };
    if (!set(FSCONFIG_SET_FLAG, "noswap", nullptr)) return os_error("tmpfs noswap");
    // Else half of the host's memory is the most.
    if (!set(FSCONFIG_SET_STRING, "size", "0")) return os_error("tmpfs size");
    if (!set(FSCONFIG_CMD_CREATE, nullptr, nullptr)) return os_error("make tmpfs");
    const UniqueFd mount{::fsmount(context.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV)};
    if (!mount) return os_error("fsmount tmpfs");
    // O_EXCL: it can never be given a name. The file keeps the mount, and goes with its last holder.
    UniqueFd file{::openat(mount.get(), ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600)};
    if (!file) return os_error("make a file on tmpfs");
    if (::ftruncate(file.get(), static_cast<off_t>(size)) < 0) return os_error("size a file on tmpfs");
    return file;
}

}  // namespace holdfast
