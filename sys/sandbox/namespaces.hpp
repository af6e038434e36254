// SPDX-License-Identifier: Apache-2.0
// Namespaces of our own and an empty, read-only root: unshare(2), user_namespaces(7),
// pivot_root(2). No PID namespace: unshare(2) would give it to children only, and the kernel then
// refuses this process new threads; processes are out of reach by seccomp and Landlock instead.
#pragma once

#include <cstdint>

#include "sys/result.hpp"

namespace holdfast::sandbox {

enum class UserNamespace : std::uint8_t {
    Own,    ///< one id mapped, all others are nobody
    Hosts,  ///< we are root where user namespaces are switched off: the rest is the same
};

/// Moves this process (it must have one thread) to new user, mount, network, IPC, UTS and cgroup
/// namespaces, all by one unshare(2). On failure nothing has changed, unless the maps could not be
/// written; every caller ends then.
Result<UserNamespace> leave_host_namespaces();

/// Puts an empty read-only tmpfs at / and detaches everything else that was mounted.
/// leave_host_namespaces() came first. On failure the process must end.
Result<void> empty_root();

}  // namespace holdfast::sandbox
