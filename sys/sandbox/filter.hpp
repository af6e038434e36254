// SPDX-License-Identifier: Apache-2.0
// A compiled seccomp policy: classic BPF over struct seccomp_data (seccomp(2)). Made at build time
// from policy/<architecture>/*.policy by compiler/; nothing of libseccomp is in the programs.
#pragma once

#include <span>

#include <linux/filter.h>

namespace holdfast::sandbox {

struct Filter {
    const char* name;
    std::span<const sock_filter> code;
};

}  // namespace holdfast::sandbox
