// SPDX-License-Identifier: Apache-2.0
// Whole files: those that a user has named for a verb to write, and small ones to read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>

#include <sys/types.h>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// All of a file, in place of what is there. Throws HF-0104.
void write_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode = 0644);

/// Whether there is no such file. One that cannot be looked at is not missing.
[[nodiscard]] bool is_missing(const std::string& path) noexcept;

/// A regular file of at most `most` bytes, or in words why not. Does not wait for whoever writes a FIFO.
[[nodiscard]] std::expected<std::string, std::string> read_text(const std::string& path, std::uint64_t most);
[[nodiscard]] std::expected<std::string, std::string> read_text(const UniqueFd& file, std::uint64_t most);

}  // namespace holdfast::cli
