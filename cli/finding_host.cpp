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
#include "cli/locked_memory.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "cli/shape.hpp"
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

std::string limit_words(rlim_t value) { return value == RLIM_INFINITY ? "unlimited" : fmt::to_string(value); }

/// Of a guest of the default size, as a launch would find it.
void look_at_locked_memory(Findings& out) {
    const std::uint64_t guest = Shape{}.memory_bytes;
    rlimit limit{};
    ::getrlimit(RLIMIT_MEMLOCK, &limit);
    const std::string may =
        limit.rlim_max == RLIM_INFINITY ? "unlimited" : "at most " + size_words(limit.rlim_max);
    Finding finding{.group = kHost, .id = "memlock", .title = "locked memory"};
    const auto way = keep_from_swap(guest);
    if (!way) {
        finding.health = Health::Warn;
        finding.detail = fmt::format("{}; an encrypted guest of {} needs {}", may, size_words(guest),
                                     size_words(to_be_locked(guest)));
        finding.fix =
            "meson install puts a limits.d file in place for the group kvm; log in again after that";
    } else if (*way == KeepFromSwap::File) {
        finding.detail = may + ": guest memory is a file on a tmpfs without swap instead";
    } else {
        finding.detail = "enough for an encrypted guest of " + size_words(guest);
    }
    out.push_back(std::move(finding));
}

void look_at_open_files(Findings& out) {
    constexpr rlim_t kWanted = 1024;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const bool enough = limit.rlim_cur >= kWanted;
    out.push_back({.group = kHost,
                   .id = "nofile",
                   .title = "open files",
                   .health = enough ? Health::Ok : Health::Warn,
                   .detail = fmt::format("{}; {} wanted", limit_words(limit.rlim_cur), kWanted),
                   .fix = enough ? "" : "ulimit -n 1024"});
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
    look_at_locked_memory(out);
    look_at_open_files(out);
    look_at_cgroup(out);
    look_at_programs(out);
}

}  // namespace holdfast::cli
