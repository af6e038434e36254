// SPDX-License-Identifier: Apache-2.0
// Plaintext must not be swapped: how this host lets a VM's memory be kept from it.
#pragma once

#include <cstdint>

#include "sys/result.hpp"

namespace holdfast::cli {

enum class KeepFromSwap : std::uint8_t {
    Lock,  ///< holdfast-vmm locks guest RAM: the limit is high enough now, and is inherited
    File,  ///< guest RAM is a file that is never swapped (sys/unswapped_file.hpp), made anew for each boot
};

/// What RLIMIT_MEMLOCK must allow for a guest of so many bytes that is locked.
[[nodiscard]] std::uint64_t to_be_locked(std::uint64_t memory_bytes) noexcept;

/// Makes RLIMIT_MEMLOCK at least so many bytes, as far as the rights allow.
Result<void> allow_locking(std::uint64_t bytes);

/// Raises that limit for a guest of `memory_bytes` and `pinned_bytes` more; where that is not allowed, tries
/// the other way, for which the limit must still allow what the VMM itself locks: page table, keys, room for
/// the ciphers, and what is pinned. The error of setrlimit() where neither works.
Result<KeepFromSwap> keep_from_swap(std::uint64_t memory_bytes, std::uint64_t pinned_bytes = 0);

}  // namespace holdfast::cli
