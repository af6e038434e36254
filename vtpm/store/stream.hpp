// SPDX-License-Identifier: Apache-2.0
// Complete reads from the stream between holdfast-vtpm and holdfast-store.
#pragma once

#include <cstddef>
#include <span>

#include "sys/fd.hpp"

namespace holdfast::vtpm::store {

/// Fills `out` from a blocking stream. False: the other side has closed it.
Result<bool> read_or_end(const UniqueFd& fd, std::span<std::byte> out);

}  // namespace holdfast::vtpm::store
