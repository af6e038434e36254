// SPDX-License-Identifier: Apache-2.0
// Memory that the kernel never writes to swap, for who may not lock enough of it.
#pragma once

#include <cstdint>

#include "sys/fd.hpp"

namespace holdfast {

/// A nameless file of `size` zero bytes on a tmpfs of its own, mounted nowhere, with `noswap`: its pages stay
/// in memory without counting as locked (RLIMIT_MEMLOCK). Maps as a memfd does, but its size is not sealed:
/// keep it among those who trust each other. Needs Linux 6.4 and CAP_SYS_ADMIN; an Os error where either is
/// missing.
Result<UniqueFd> unswapped_file(std::uint64_t size);

}  // namespace holdfast
