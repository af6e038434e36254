// SPDX-License-Identifier: Apache-2.0
// The jail of every Holdfast process: what it gives up between the descriptors it was handed and
// the first foreign byte. What holds and why: docs/sandbox.md.
#pragma once

#include <array>
#include <csignal>
#include <cstdint>
#include <span>

#include "sys/result.hpp"
#include "sys/sandbox/filter.hpp"

namespace holdfast::sandbox {

inline constexpr std::array kIgnoredSignals{SIGPIPE, SIGINT, SIGQUIT, SIGHUP};

struct Profile {
    const Filter& filter;
    /// The descriptors that stay open; all others are closed. One that is listed and not open is an
    /// error. Empty: all stay, for a program that has already wrapped them in objects.
    std::span<const int> keep = {};
    std::uint64_t max_descriptors = 256;  ///< RLIMIT_NOFILE: numbers from here on cannot be opened
    /// RLIMIT_NPROC, threads included. The kernel does not hold uid 0 of the host to it.
    std::uint64_t max_threads = 64;
    /// Broken pipes are seen as EPIPE; keys on the terminal are for the command line alone.
    std::span<const int> ignored_signals = kIgnoredSignals;
};

/// Enters the jail for good. Called once, with a single thread, before any foreign byte is read.
/// In this order: descriptors, signals, namespaces, empty root, limits, capabilities,
/// no_new_privs, not dumpable, Landlock, seccomp. An open directory is an error: it would be a way
/// around the empty root. After an error the process is half jailed and must
/// end. A kernel without Landlock is logged, not refused.
Result<void> enter(const Profile& profile);

}  // namespace holdfast::sandbox
