// SPDX-License-Identifier: Apache-2.0
// Which shared libraries a program of this machine loads.
#pragma once

#include <span>
#include <string>
#include <vector>

namespace holdfast::cli {

/// Paths of them and of their loader, as that loader finds them here; none for a static program. `elf`: the
/// program's bytes. Throws HF-0215.
[[nodiscard]] std::vector<std::string> libraries_of(const std::string& program,
                                                    std::span<const std::byte> elf);

}  // namespace holdfast::cli
