// SPDX-License-Identifier: Apache-2.0
// One entry of an IMA list, in either form, from the front of what is left of the list.
#pragma once

#include "attest/formats/ima/list.hpp"

namespace holdfast::attest::ima {

/// No entry of a real list is longer: paths have 4096 bytes, signatures and keys some hundred.
inline constexpr std::size_t kMaxEntry = 1U << 20;

/// One line, without its end.
[[nodiscard]] Result<Entry> read_line(std::string_view line);
/// Takes one entry of the binary form off the front of `rest`.
[[nodiscard]] Result<Entry> take_binary(std::span<const std::byte>& rest);

/// Whether the template hash is that of the data; of a violation it cannot be.
[[nodiscard]] bool has_right_hash(const Entry& entry);

}  // namespace holdfast::attest::ima
