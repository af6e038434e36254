// SPDX-License-Identifier: Apache-2.0
// What a command line of libvirt's means: the flags of `holdfast run`, and what the adapter keeps for itself.
// Whatever has no meaning here is refused; the short list of what may be ignored is in plan.cpp, with
// reasons.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "libvirt/option.hpp"

namespace holdfast::libvirt {

/// Where the bytes of the guest's console go.
struct Chardev {
    enum class Kind : std::uint8_t { Pty, Listener, Connect, File, Null };
    Kind kind = Kind::Null;
    std::string id;
    std::string path;  ///< Connect, File
    int fd = -1;       ///< Listener, File: inherited; else -1
    bool append = false;
};

struct Disk {
    std::string id;    ///< of the device
    std::string node;  ///< of the block device behind it
    std::string path;
    bool read_only = false;
};

struct Monitor {
    int listener = -1;  ///< inherited; else -1
    std::string path;
};

struct Plan {
    std::string name;
    Monitor monitor;
    bool probe = false;  ///< no machine: only questions about capabilities
    bool daemonize = false;
    std::string pid_file;
    bool paused = false;      ///< -S
    bool stay_after = false;  ///< -no-shutdown: libvirt ends us after the guest has powered off
    std::uint64_t memory_bytes = 0;
    unsigned cpus = 1;
    std::optional<Chardev> console;
    std::vector<Disk> disks;
    std::vector<std::string> devices;  ///< ids
    int tap = -1;                      ///< inherited
    std::vector<int> unused_fds;       ///< inherited, and not wanted
    std::string state_dir;
    std::vector<std::string> run;  ///< flags of `holdfast run`
};

/// `environment`: NAME=VALUE words, of which those that begin with HOLDFAST_ count.
[[nodiscard]] Verdict<Plan> make_plan(std::span<const char* const> words,
                                      std::span<const char* const> environment);

}  // namespace holdfast::libvirt
