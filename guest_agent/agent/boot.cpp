// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/boot.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
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

#include "guest_agent/agent/config.hpp"
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

Result<void> copy_file(const char* from, const std::string& to, mode_t mode) {
    const UniqueFd source{::open(from, O_RDONLY | O_CLOEXEC)};
    if (!source) return os_error("open what goes to the new root");
    const UniqueFd copy{::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (!copy) return os_error("write into /run/holdfast");
    std::array<std::byte, 1U << 16> bytes;
    for (;;) {
        const ssize_t got = ::read(source.get(), bytes.data(), bytes.size());
        if (got < 0) return os_error("read what goes to the new root");
        if (got == 0) return {};
        HF_TRY(write_all(copy, std::span{bytes}.first(static_cast<std::size_t>(got))));
    }
}

/// What is on the disk is not measured; these two are, and stay to be had.
Result<void> leave_agent_behind() {
    if (::mkdir(kLeftBehind, 0755) < 0) return os_error("mkdir /run/holdfast");
    HF_TRY(copy_file("/proc/self/exe", std::string{kLeftBehind} + "/agent", 0755));
    return copy_file(kConfigFile, kConfigLeftBehind, 0444);
}

/// The files of the initramfs stay in memory.
Result<void> switch_root() {
    HF_TRY(leave_agent_behind());
    for (const char* const kept : {"/dev", "/proc", "/sys", "/run"}) {
        const std::string to = std::string{kNewRoot} + kept;
        if (::mkdir(to.c_str(), 0755) < 0 && errno != EEXIST) return os_error("mkdir in the new root");
        if (::mount(kept, to.c_str(), nullptr, MS_MOVE, nullptr) < 0)
            return os_error("move a mount to the new root");
    }
    if (::chdir(kNewRoot) < 0) return os_error("chdir to the new root");
    if (::mount(".", "/", nullptr, MS_MOVE, nullptr) < 0) return os_error("move the new root");
    if (::chroot(".") < 0 || ::chdir("/") < 0) return os_error("chroot to the new root");
    return {};
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

Error become_init(const std::string& init) {
    const auto ready = switch_root();
    if (!ready) return ready.error();
    std::string word = init;
    static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    static char terminal[] = "TERM=linux";
    char* const words[] = {word.data(), nullptr};
    char* const environment[] = {path, terminal, nullptr};
    ::signal(SIGPIPE, SIG_DFL);
    ::execve(init.c_str(), words, environment);
    return os_error("execute what disk-root names");
}

void power_off() noexcept {
    ::sync();
    ::reboot(RB_POWER_OFF);
}

}  // namespace holdfast::agent
