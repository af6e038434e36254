// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/boot.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <linux/input.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/free_with.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

struct Basic {
    const char* type;
    const char* at;
    unsigned long flags;
};
constexpr std::array kBasics{
    Basic{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    Basic{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    Basic{"devtmpfs", "/dev", MS_NOSUID},
    Basic{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC},
    Basic{"tmpfs", "/run", MS_NOSUID | MS_NODEV},
    Basic{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV},
};

/// Names in a directory, in their order; none if there is no such directory.
std::vector<std::string> names_in(const char* directory) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, FreeWith<::closedir>> open{::opendir(directory)};
    if (!open) return names;
    while (const dirent* const entry = ::readdir(open.get())) {
        if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
    }
    std::ranges::sort(names);
    return names;
}

bool is_power_button(const UniqueFd& device) {
    std::array<char, 64> name{};
    if (::ioctl(device.get(), EVIOCGNAME(name.size() - 1), name.data()) < 0) return false;
    return std::string_view{name.data()} == "Power Button";
}

}  // namespace

Result<void> mount_basics() {
    for (const Basic& basic : kBasics) {
        if (::mkdir(basic.at, 0755) < 0 && errno != EEXIST) return os_error("mkdir for a mount");
        // The kernel may have mounted /dev already.
        if (::mount(basic.type, basic.at, basic.type, basic.flags, nullptr) < 0 && errno != EBUSY) {
            return os_error("mount");
        }
    }
    return {};
}

void load_modules() {
    for (const std::string& name : names_in(kModulesDirectory)) {
        const std::string path = std::string{kModulesDirectory} + '/' + name;
        const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
        if (file && ::syscall(SYS_finit_module, file.get(), "", 0) == 0) continue;
        log::warn("module_not_loaded", os_error("finit_module"), {{"module", name}});
    }
}

Result<void> open_console() {
    const UniqueFd console{::open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC)};
    if (!console) return os_error("open /dev/console");
    for (const int standard : {0, 1, 2}) {
        if (::dup2(console.get(), standard) < 0) return os_error("dup2 console");
    }
    return {};
}

UniqueFd open_power_button() {
    for (const std::string& name : names_in("/dev/input")) {
        UniqueFd device{::open(("/dev/input/" + name).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
        if (device && is_power_button(device)) return device;
    }
    return {};
}

void power_off() noexcept {
    ::sync();
    ::reboot(RB_POWER_OFF);
}

}  // namespace holdfast::agent
