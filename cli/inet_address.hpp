// SPDX-License-Identifier: Apache-2.0
// An IPv4 address and port, as flags have them.
#pragma once

#include <string>
#include <string_view>

#include <netinet/in.h>

namespace holdfast::cli {

/// Of "127.0.0.1:8743". Throws HF-0104, which names the flag.
[[nodiscard]] sockaddr_in inet_address(std::string_view flag, const std::string& text);
[[nodiscard]] std::string text_of(const sockaddr_in& address);
/// As the sockets API takes every family's own.
[[nodiscard]] sockaddr* generic(sockaddr_in& address) noexcept;

}  // namespace holdfast::cli
