// SPDX-License-Identifier: Apache-2.0
// Text for people: colours on a terminal only, aligned columns, sizes and ages in words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/core.h>

#include "sys/process.hpp"

namespace holdfast::cli {

/// Colours if `fd` is a terminal and NO_COLOR is not set; else empty strings.
class Paint {
public:
    explicit Paint(int fd);
    [[nodiscard]] const char* red() const { return on_ ? "\x1b[31m" : ""; }
    [[nodiscard]] const char* green() const { return on_ ? "\x1b[32m" : ""; }
    [[nodiscard]] const char* yellow() const { return on_ ? "\x1b[33m" : ""; }
    [[nodiscard]] const char* bold() const { return on_ ? "\x1b[1m" : ""; }
    [[nodiscard]] const char* dim() const { return on_ ? "\x1b[2m" : ""; }
    [[nodiscard]] const char* off() const { return on_ ? "\x1b[0m" : ""; }

private:
    bool on_;
};

void write_text(int fd, std::string_view text);

template <typename... Args>
void print(fmt::format_string<Args...> format, Args&&... args) {
    write_text(1, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void print_error(fmt::format_string<Args...> format, Args&&... args) {
    write_text(2, fmt::format(format, std::forward<Args>(args)...));
}

/// Rows of cells, each column as wide as its widest cell; the first row is the heading.
void print_table(const std::vector<std::vector<std::string>>& rows);

[[nodiscard]] std::string size_words(std::uint64_t bytes);
[[nodiscard]] std::string age_words(std::int64_t seconds);
/// How a process ended.
[[nodiscard]] std::string ending_words(const Ending& ending);
/// Control characters and what is not ASCII replaced, for text that a guest or a file name chose.
[[nodiscard]] std::string printable(std::string_view text);

/// A text of several lines, with commas between them; printable() as well.
[[nodiscard]] std::string one_line(std::string text);

}  // namespace holdfast::cli
