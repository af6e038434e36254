// SPDX-License-Identifier: Apache-2.0
// Structured, rate-limited log lines on standard error: an event name and a few key=value fields.
// Formatting happens in a fixed buffer on the caller's stack, so a vCPU thread may log.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "sys/result.hpp"

namespace holdfast::log {

enum class Level : std::uint8_t { Error, Warn, Info, Debug };

/// One key=value. Strings are escaped and cut at 256 bytes; hex() shows an address.
class Field {
public:
    template <std::integral T>
    constexpr Field(std::string_view key, T value) noexcept
        : key_{key},
          kind_{std::is_signed_v<T> ? Kind::Signed : Kind::Unsigned},
          number_{static_cast<std::uint64_t>(value)} {}
    constexpr Field(std::string_view key, std::string_view value) noexcept
        : key_{key}, kind_{Kind::Text}, text_{value} {}
    constexpr Field(std::string_view key, const char* value) noexcept : Field{key, std::string_view{value}} {}
    static constexpr Field hex(std::string_view key, std::uint64_t value) noexcept {
        Field field{key, value};
        field.kind_ = Kind::Hex;
        return field;
    }

private:
    friend class LineBuilder;
    enum class Kind : std::uint8_t { Signed, Unsigned, Hex, Text };
    std::string_view key_;
    Kind kind_;
    std::uint64_t number_ = 0;
    std::string_view text_;
};

using Fields = std::initializer_list<Field>;

/// Set once by main(): the program's name in front of each line, and what is printed at all.
void configure(std::string_view program, Level most) noexcept;

/// Someone must act.
void error(std::string_view event, Fields fields = {}) noexcept;
void error(std::string_view event, const Error& error, Fields fields = {}) noexcept;
/// A guest or a peer misbehaved: at most 10 lines a second for the whole process, then a count.
void warn(std::string_view event, Fields fields = {}) noexcept;
void warn(std::string_view event, const Error& error, Fields fields = {}) noexcept;
/// Life cycle.
void info(std::string_view event, Fields fields = {}) noexcept;
/// Off by default.
void debug(std::string_view event, Fields fields = {}) noexcept;

}  // namespace holdfast::log
