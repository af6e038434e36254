// SPDX-License-Identifier: Apache-2.0
#include "cli/output.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::cli {

Paint::Paint(int fd) : on_{::isatty(fd) == 1 && std::getenv("NO_COLOR") == nullptr} {}

void write_text(int fd, std::string_view text) {
    while (!text.empty()) {
        const ssize_t put = ::write(fd, text.data(), text.size());
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return;  // nobody reads: nothing better to do with words for people
        text.remove_prefix(static_cast<std::size_t>(put));
    }
}

namespace {

/// Characters, not bytes: those that go on with another one's do not count.
std::size_t columns(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }));
}

}  // namespace

void print_table(const std::vector<std::vector<std::string>>& rows) {
    std::vector<std::size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], columns(row[i]));
    }
    const Paint paint{STDOUT_FILENO};
    std::string text;
    for (const auto& row : rows) {
        const bool heading = &row == &rows.front();
        if (heading) text += paint.bold();
        for (std::size_t i = 0; i < row.size(); ++i) {
            const bool last = i + 1 == row.size();
            text += last ? row[i] : fmt::format("{:<{}}  ", row[i], widths[i]);
        }
        if (heading) text += paint.off();
        text += '\n';
    }
    write_text(STDOUT_FILENO, text);
}

std::string size_words(std::uint64_t bytes) {
    constexpr std::string_view units = "BKMGT";
    std::size_t unit = 0;
    while (unit + 1 < units.size() && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, units[unit]);
}

std::string age_words(std::int64_t seconds) {
    seconds = std::max<std::int64_t>(seconds, 0);
    if (seconds < 120) return fmt::format("{} s", seconds);
    if (seconds < 7200) return fmt::format("{} min", seconds / 60);
    if (seconds < 172800) return fmt::format("{} h", seconds / 3600);
    return fmt::format("{} days", seconds / 86400);
}

std::string ending_words(const Ending& ending) {
    return ending.signalled ? fmt::format("signal {} ({})", ending.value, ::strsignal(ending.value))
                            : fmt::format("exit status {}", ending.value);
}

std::string printable(std::string_view text) {
    std::string clean{text};
    std::ranges::replace_if(clean, [](char c) { return c < ' ' || c > '~'; }, '?');
    return clean;
}

std::string one_line(std::string text) {
    while (text.ends_with('\n')) text.pop_back();
    for (std::size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 2)
        text.replace(at, 1, ", ");
    return printable(text);
}

}  // namespace holdfast::cli
