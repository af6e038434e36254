// SPDX-License-Identifier: Apache-2.0
// Files that a user has named for a verb to write.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include <sys/types.h>

namespace holdfast::cli {

/// All of a file, in place of what is there. Throws HF-0104.
void write_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode = 0644);

}  // namespace holdfast::cli
