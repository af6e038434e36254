// SPDX-License-Identifier: Apache-2.0
// Landlock with no rule at all: every access it knows is denied (landlock(7)).
#pragma once

#include "sys/result.hpp"

namespace holdfast::sandbox {

/// The kernel's Landlock ABI; 0 where it is not built in or not enabled at boot.
[[nodiscard]] int landlock_abi() noexcept;

/// From here on this thread (and those it starts) opens, makes and removes no file, binds and
/// connects no TCP port (ABI 4), and reaches no abstract socket and signals no process outside
/// (ABI 6). Descriptors that are already open keep their rights. Returns the ABI; 0, and nothing
/// done, where the kernel has none. Needs no_new_privs.
Result<int> landlock_deny_all();

}  // namespace holdfast::sandbox
