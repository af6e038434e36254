// SPDX-License-Identifier: Apache-2.0
// Bytes and times as text: hexadecimal, base64 and base64url (RFC 4648, padding may be missing), and UTC
// times of RFC 3339 as Intel's collateral has them. Strict: what is not of the form is an Input error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::attest {

[[nodiscard]] Result<std::vector<std::byte>> bytes_of_hex(std::string_view text);
/// Either alphabet; line ends are skipped, as PEM and JSON writers put them in.
[[nodiscard]] Result<std::vector<std::byte>> bytes_of_base64(std::string_view text);
/// "2025-06-19T10:16:03Z": seconds since 1970.
[[nodiscard]] Result<std::int64_t> time_of_text(std::string_view text);

[[nodiscard]] std::string_view text_of(std::span<const std::byte> bytes) noexcept;

}  // namespace holdfast::attest
