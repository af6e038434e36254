// SPDX-License-Identifier: Apache-2.0
// Findings about the kernel, the jail, limits and programs.
#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>

#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/finding.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "sys/sandbox/probe.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kHost = "Host";
constexpr const char* kJail = "Jail of each process";

// Debian 12's: the oldest that anything here was tried on.
constexpr std::pair kMinimumKernel{6U, 1U};

void look_at_kernel(Findings& out) {
    utsname name{};
    ::uname(&name);
    unsigned major = 0;
    unsigned minor = 0;
    const bool known =
        std::sscanf(name.release, "%u.%u", &major, &minor) == 2;  // NOLINT(cert-err34-c): two small numbers
    const bool enough = known && std::pair{major, minor} >= kMinimumKernel;
    out.push_back(
        {.group = kHost,
         .id = "kernel",
         .title = "kernel",
         .health = enough ? Health::Ok : Health::Warn,
         .detail = fmt::format("{}; {}.{} is the oldest that Holdfast is tried on", printable(name.release),
                               kMinimumKernel.first, kMinimumKernel.second),
         .fix = enough ? "" : "use a newer kernel"});
}

std::string limit_words(rlim_t value, bool bytes) {
    if (value == RLIM_INFINITY) return "unlimited";
    return bytes ? size_words(value) : fmt::to_string(value);
}

void look_at_limit(Findings& out, const char* id, const char* title, int resource, rlim_t wanted, bool bytes,
                   const char* fix) {
    rlimit limit{};
    ::getrlimit(static_cast<__rlimit_resource>(resource), &limit);
    const bool enough = limit.rlim_cur >= wanted;
    out.push_back({.group = kHost,
                   .id = id,
                   .title = title,
                   .health = enough ? Health::Ok : Health::Warn,
                   .detail = fmt::format("{}; {} wanted", limit_words(limit.rlim_cur, bytes),
                                         limit_words(wanted, bytes)),
                   .fix = enough ? "" : fix});
}

void look_at_cgroup(Findings& out) {
    const auto controllers = first_line("/sys/fs/cgroup/cgroup.controllers");
    const bool enough = controllers && controllers->find("memory") != std::string::npos &&
                        controllers->find("pids") != std::string::npos;
    out.push_back({.group = kHost,
                   .id = "cgroup",
                   .title = "cgroup v2",
                   .health = enough ? Health::Ok : Health::Warn,
                   .detail = enough        ? "memory and pids can be limited"
                             : controllers ? "the controllers memory and pids are not both on"
                                           : "not mounted: VMs run, but systemd cannot limit them",
                   .fix = enough ? "" : "boot with systemd.unified_cgroup_hierarchy=1"});
}

void look_at_programs(Findings& out) {
    Finding ours{.group = kHost, .id = "programs", .title = "our programs", .required = true};
    try {
        ours.detail = "in " + program_directory();
    } catch (const Failure& failure) {
        ours.health = Health::Missing;
        ours.detail = failure.what();
        ours.fix = "build or install all of Holdfast: ninja -C build, meson install -C build";
    }
    out.push_back(std::move(ours));
    Finding passt{.group = kHost, .id = "passt", .title = "passt"};
    try {
        passt.detail = find_passt();
    } catch (const Failure&) {
        passt.health = Health::Warn;
        passt.detail = "not in PATH: --net user will not work";
        passt.fix = "apt install passt";
    }
    out.push_back(std::move(passt));
}

void look_at_jail(Findings& out) {
    for (const sandbox::Finding& part : sandbox::probe()) {
        std::string id{part.name};
        std::ranges::replace(id, ' ', '-');
        out.push_back({.group = kJail,
                       .id = std::move(id),
                       .title = part.name,
                       .health = part.supported  ? Health::Ok
                                 : part.required ? Health::Missing
                                                 : Health::Warn,
                       .detail = part.detail,
                       .fix = part.fix,
                       .required = part.required});
    }
}

}  // namespace

std::optional<std::string> first_line(const std::string& path) {
    std::ifstream file{path};
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    return line;
}

void look_at_surroundings(Findings& out) {
    look_at_jail(out);
    look_at_kernel(out);
    look_at_limit(out, "memlock", "locked memory", RLIMIT_MEMLOCK, 64ULL << 20, true,
                  "raise it: meson install puts a limits.d file in place; the tier software will need it");
    look_at_limit(out, "nofile", "open files", RLIMIT_NOFILE, 1024, false, "ulimit -n 1024");
    look_at_cgroup(out);
    look_at_programs(out);
}

}  // namespace holdfast::cli
