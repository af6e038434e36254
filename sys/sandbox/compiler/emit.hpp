// SPDX-License-Identifier: Apache-2.0
// From allowances to a BPF program, by libseccomp. Build time and tests only.
#pragma once

#include <span>
#include <vector>

#include <linux/filter.h>

#include "sys/sandbox/compiler/policy.hpp"

namespace holdfast::sandbox::compiler {

/// The program for this architecture: what is not allowed kills the process, and so does a call
/// through another architecture's entry (i386, x32).
[[nodiscard]] std::vector<sock_filter> compile(std::span<const Allowance> allowances);

/// The number of a system call, or throws PolicyError.
[[nodiscard]] int call_number(const Allowance& allowance);

}  // namespace holdfast::sandbox::compiler
