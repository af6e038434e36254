// SPDX-License-Identifier: Apache-2.0
// Files that go into an image of `holdfast image`.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace holdfast::cli {

/// All of a regular file. Throws HF-0215 if it cannot be read or has more than `most` bytes.
[[nodiscard]] std::vector<std::byte> read_image_file(const std::string& path, std::size_t most);

}  // namespace holdfast::cli
