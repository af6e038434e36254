// SPDX-License-Identifier: Apache-2.0
// JSON that somebody else wrote, without exceptions: looked at through pointers, never converted, and parsed
// only when it is not nested deeper than the parser's stack bears.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace holdfast::libvirt {

/// None: it is not one JSON object.
[[nodiscard]] std::optional<nlohmann::json> parse_object(std::string_view text);
/// The member's text; empty if there is none.
[[nodiscard]] std::string text_of(const nlohmann::json& object, std::string_view member);
/// As one line; what is not UTF-8 is replaced.
[[nodiscard]] std::string one_line(const nlohmann::json& value);
/// At most 200 bytes of it, control characters as '?': fit for a message.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace holdfast::libvirt
