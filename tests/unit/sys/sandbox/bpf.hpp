// SPDX-License-Identifier: Apache-2.0
// Evaluates a seccomp filter as the kernel would: classic BPF (Linux Documentation/networking/
// filter.rst) in the subset that seccomp takes. For tests; what a filter cannot contain throws.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include <linux/filter.h>

namespace holdfast::sandbox {

struct Call {
    int number = 0;
    std::array<std::uint64_t, 6> arguments{};
    std::uint32_t architecture = 0xc000003e;  ///< AUDIT_ARCH_X86_64
};

/// The filter's verdict (SECCOMP_RET_*, action and data).
[[nodiscard]] std::uint32_t verdict(std::span<const sock_filter> code, const Call& call);

}  // namespace holdfast::sandbox
