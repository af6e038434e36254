// SPDX-License-Identifier: Apache-2.0
// holdfast libvirt check: what usually stands between libvirt and a Holdfast domain, and the fix of each.
#include <algorithm>
#include <filesystem>

#include <fmt/format.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/finding.hpp"
#include "cli/libvirt_conf.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "libvirt/environment.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kGroup = "libvirt";

bool any_exists(std::initializer_list<const char*> paths) {
    return std::ranges::any_of(paths, [](const char* path) { return ::access(path, X_OK) == 0; });
}

void look_at_programs(Findings& out, const std::string& emulator) {
    const bool there = any_exists({"/usr/sbin/libvirtd", "/usr/sbin/virtqemud", "/usr/local/sbin/libvirtd"});
    out.push_back(
        {.group = kGroup,
         .id = "libvirt-daemon",
         .title = "libvirt's QEMU driver",
         .health = there ? Health::Ok : Health::Missing,
         .detail = there ? "installed" : "neither libvirtd nor virtqemud is installed",
         .fix = there ? "" : "apt install libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients",
         .required = true});
    const bool runs = ::access(emulator.c_str(), X_OK) == 0;
    out.push_back({.group = kGroup,
                   .id = "emulator",
                   .title = "holdfast-qemu",
                   .health = runs ? Health::Ok : Health::Missing,
                   .detail = runs ? emulator : emulator + " is not there",
                   .fix = runs ? "" : "install all of Holdfast: meson install -C build",
                   .required = true});
}

// Whether every directory on the way may be entered by others, as libvirt's user needs.
void look_at_path(Findings& out, const std::string& emulator) {
    std::string closed;
    for (std::filesystem::path at = std::filesystem::path{emulator}.parent_path(); at != at.root_path();
         at = at.parent_path()) {
        struct stat status{};
        if (::stat(at.c_str(), &status) == 0 && (status.st_mode & S_IXOTH) == 0) closed = at.string();
    }
    out.push_back(
        {.group = kGroup,
         .id = "emulator-path",
         .title = "its path",
         .health = closed.empty() ? Health::Ok : Health::Warn,
         .detail = closed.empty() ? "every user may reach it" : closed + " is closed to other users",
         .fix = closed.empty() ? "" : "install Holdfast below /usr/local, or run domains as root"});
}

void look_at_user(Findings& out) {
    const std::string user = domain_user();
    if (user == "root") {
        out.push_back({.group = kGroup,
                       .id = "user",
                       .title = "user of domains",
                       .detail = "root: Holdfast's processes leave its rights before a guest runs"});
        return;
    }
    const passwd* const entry = ::getpwnam(user.c_str());
    struct stat status{};
    const bool writes =
        entry != nullptr && ::stat(libvirt::kStateDir, &status) == 0 && status.st_uid == entry->pw_uid;
    out.push_back(
        {.group = kGroup,
         .id = "user",
         .title = "user of domains",
         .health = writes ? Health::Ok : Health::Missing,
         .detail = fmt::format("{} {} {}", user, writes ? "owns" : "does not own", libvirt::kStateDir),
         .fix = writes ? "" : "holdfast libvirt install; or HOLDFAST_STATE_DIR in the domain"});
}

void look_at_confinement(Findings& out) {
    const bool off = qemu_conf("security_driver") == "none";
    const bool apparmor = !off && ::access("/sys/kernel/security/apparmor/profiles", F_OK) == 0;
    const bool selinux = !off && ::access("/sys/fs/selinux/enforce", F_OK) == 0;
    const bool allowed = !selinux && ::access(kAppArmorPiece, F_OK) == 0;
    const bool stands = (apparmor || selinux) && !allowed;
    out.push_back(
        {.group = kGroup,
         .id = "confinement",
         .title = "AppArmor, SELinux",
         .health = stands ? Health::Warn : Health::Ok,
         .detail = stands ? "libvirt's profile for emulators does not let holdfast-qemu start its processes"
                   : apparmor ? "libvirt's AppArmor profile lets holdfast-qemu work"
                              : "do not confine emulators",
         .fix = !stands   ? ""
                : selinux ? "<seclabel type='none'/> in the domain; Holdfast's own jails stay"
                          : "holdfast libvirt install"});
}

}  // namespace

int check_libvirt(const LibvirtCheckOptions& options) {
    const std::string emulator =
        options.emulator.empty() ? program_beside("holdfast-qemu") : options.emulator;
    Findings findings;
    look_at_programs(findings, emulator);
    look_at_path(findings, emulator);
    look_at_user(findings);
    look_at_confinement(findings);
    Findings host;
    look_at_kvm(host);
    for (Finding& finding : host) {
        if (finding.required) findings.push_back(std::move(finding));
    }
    print_findings(findings);
    return std::ranges::any_of(findings,
                               [](const Finding& finding) { return finding.health == Health::Missing; })
               ? kExitFailure
               : 0;
}

}  // namespace holdfast::cli
