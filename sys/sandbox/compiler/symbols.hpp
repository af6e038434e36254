// SPDX-License-Identifier: Apache-2.0
// The constants that a policy may name. Build time only.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace holdfast::sandbox::compiler {

[[nodiscard]] std::optional<std::uint64_t> symbol(std::string_view name);

}  // namespace holdfast::sandbox::compiler
