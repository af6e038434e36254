// SPDX-License-Identifier: Apache-2.0
// Installs a compiled policy (seccomp(2)). The strictest of all installed filters decides, so a
// thread can only tighten what its process has.
#pragma once

#include <cstdint>

#include "sys/result.hpp"
#include "sys/sandbox/filter.hpp"

namespace holdfast::sandbox {

enum class Scope : std::uint8_t {
    ThisThread,  ///< and the threads it starts later
    AllThreads,  ///< of this process, at once
};

/// no_new_privs must be set (`enter` does). The filter must allow seccomp if another is to follow.
Result<void> install(const Filter& filter, Scope scope);

}  // namespace holdfast::sandbox
