// SPDX-License-Identifier: Apache-2.0
// Text inside of XML and HTML.
#pragma once

#include <string>
#include <string_view>

namespace holdfast {

/// Text that is nothing but text in an element, and in an attribute with either kind of quotes.
[[nodiscard]] std::string escaped(std::string_view text);

}  // namespace holdfast
