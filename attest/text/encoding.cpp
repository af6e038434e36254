// SPDX-License-Identifier: Apache-2.0
#include "attest/text/encoding.hpp"

#include <array>
#include <charconv>
#include <chrono>

namespace holdfast::attest {
namespace {

int hex_digit(char c) noexcept {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

int base64_digit(char c) noexcept {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+' || c == '-') return 62;
    if (c == '/' || c == '_') return 63;
    return -1;
}

/// A number of exactly `text`'s digits.
Result<unsigned> number_of(std::string_view text) {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return input_error("a time with other than digits");
    return value;
}

}  // namespace

Result<std::vector<std::byte>> bytes_of_hex(std::string_view text) {
    if (text.size() % 2 != 0) return input_error("hexadecimal with an odd number of digits");
    std::vector<std::byte> bytes(text.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        const int high = hex_digit(text[2 * i]);
        const int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) return input_error("text that is not hexadecimal");
        bytes[i] = static_cast<std::byte>(high * 16 + low);
    }
    return bytes;
}

Result<std::vector<std::byte>> bytes_of_base64(std::string_view text) {
    std::vector<std::byte> bytes;
    bytes.reserve(text.size() / 4 * 3 + 3);
    std::uint32_t bits = 0;
    unsigned have = 0;
    bool padded = false;
    for (const char c : text) {
        if (c == '\n' || c == '\r') continue;
        if (c == '=') {
            padded = true;
            continue;
        }
        const int digit = base64_digit(c);
        if (digit < 0 || padded) return input_error("text that is not base64");
        bits = bits << 6 | static_cast<std::uint32_t>(digit);
        have += 6;
        if (have >= 8) {
            have -= 8;
            bytes.push_back(static_cast<std::byte>(bits >> have));
        }
    }
    // One spelling a value: the bits that belong to no byte are zero, and fewer than a digit's.
    if (have >= 6 || (bits & ((1U << have) - 1)) != 0) return input_error("base64 that ends within a byte");
    return bytes;
}

Result<std::int64_t> time_of_text(std::string_view text) {
    constexpr std::string_view kForm = "0000-00-00T00:00:00Z";
    if (text.size() != kForm.size()) return input_error("a time that is not UTC in the form of RFC 3339");
    for (std::size_t i = 0; i < kForm.size(); ++i) {
        if (kForm[i] != '0' && text[i] != kForm[i]) {
            return input_error("a time that is not UTC in the form of RFC 3339");
        }
    }
    const auto year = HF_TRY(number_of(text.substr(0, 4)));
    const auto month = HF_TRY(number_of(text.substr(5, 2)));
    const auto day = HF_TRY(number_of(text.substr(8, 2)));
    const auto hour = HF_TRY(number_of(text.substr(11, 2)));
    const auto minute = HF_TRY(number_of(text.substr(14, 2)));
    const auto second = HF_TRY(number_of(text.substr(17, 2)));
    const std::chrono::year_month_day date{std::chrono::year{static_cast<int>(year)},
                                           std::chrono::month{month}, std::chrono::day{day}};
    if (!date.ok() || hour > 23 || minute > 59 || second > 60) return input_error("a time that there is not");
    const std::chrono::sys_days days{date};
    return std::int64_t{days.time_since_epoch().count()} * 86400 + hour * 3600 + minute * 60 + second;
}

std::string_view text_of(std::span<const std::byte> bytes) noexcept {
    // SAFETY: bytes read as characters, which may alias anything.
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace holdfast::attest
