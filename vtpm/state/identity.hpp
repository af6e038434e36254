// SPDX-License-Identifier: Apache-2.0
// Which vTPM a state belongs to. Both parts are bound into every sealed blob, so that a state under
// another name or id does not open.
#pragma once

#include <array>
#include <cstddef>
#include <string>

namespace holdfast::vtpm {

inline constexpr std::size_t kIdBytes = 16;
using Id = std::array<std::byte, kIdBytes>;

struct Identity {
    Id id{};           ///< random, given at creation
    std::string name;  ///< as the user knows it; at most 40 characters
};
inline constexpr std::size_t kMaxName = 40;

}  // namespace holdfast::vtpm
