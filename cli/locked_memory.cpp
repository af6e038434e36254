// SPDX-License-Identifier: Apache-2.0
#include "cli/locked_memory.hpp"

#include <algorithm>

#include <sys/resource.h>

#include "sys/unswapped_file.hpp"

namespace holdfast::cli {
namespace {

/// Page table (0.66 % of guest RAM), keys, and room for the pages of the ciphers.
std::uint64_t beside(std::uint64_t memory_bytes) { return memory_bytes / 100 + (1U << 20); }

}  // namespace

Result<void> allow_locking(std::uint64_t bytes) {
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) < 0) return os_error("getrlimit");
    if (limit.rlim_cur >= bytes) return {};
    const rlimit raised{.rlim_cur = bytes, .rlim_max = std::max<rlim_t>(limit.rlim_max, bytes)};
    if (::setrlimit(RLIMIT_MEMLOCK, &raised) < 0) return os_error("raise the limit of locked memory");
    return {};
}

std::uint64_t to_be_locked(std::uint64_t memory_bytes) noexcept {
    return memory_bytes + beside(memory_bytes);
}

Result<KeepFromSwap> keep_from_swap(std::uint64_t memory_bytes, std::uint64_t pinned_bytes) {
    const auto raised = allow_locking(to_be_locked(memory_bytes) + pinned_bytes);
    if (raised) return KeepFromSwap::Lock;
    // A root who may mount but has no CAP_SYS_RESOURCE, as in some containers and sandboxes.
    if (unswapped_file(0) && allow_locking(beside(memory_bytes) + pinned_bytes)) return KeepFromSwap::File;
    return raised.error();
}

}  // namespace holdfast::cli
