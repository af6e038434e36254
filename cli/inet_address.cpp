// SPDX-License-Identifier: Apache-2.0
#include "cli/inet_address.hpp"

#include <array>
#include <charconv>

#include <arpa/inet.h>
#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {

sockaddr_in inet_address(std::string_view flag, const std::string& text) {
    const std::size_t colon = std::min(text.rfind(':'), text.size());
    const std::string_view port_text = std::string_view{text}.substr(std::min(colon + 1, text.size()));
    std::uint16_t port = 0;
    const char* const end = port_text.data() + port_text.size();
    const auto [stopped, wrong] = std::from_chars(port_text.data(), end, port);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    if (wrong == std::errc{} && stopped == end &&
        ::inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) == 1) {
        return address;
    }
    throw Failure{Code::Value, fmt::format("{} '{}' cannot be used", flag, printable(text)),
                  "it is not an IPv4 address and a port", "write it like 127.0.0.1:8743"};
}

std::string text_of(const sockaddr_in& address) {
    std::array<char, INET_ADDRSTRLEN> text{};
    ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
    return fmt::format("{}:{}", text.data(), ntohs(address.sin_port));
}

sockaddr* generic(sockaddr_in& address) noexcept {
    // SAFETY: the sockets API takes every address family through this one type.
    return reinterpret_cast<sockaddr*>(&address);
}

}  // namespace holdfast::cli
