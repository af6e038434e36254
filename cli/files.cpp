// SPDX-License-Identifier: Apache-2.0
#include "cli/files.hpp"

#include <cerrno>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/output.hpp"

namespace holdfast::cli {

void write_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
    const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)};
    const auto written = fd ? write_all(fd, bytes) : os_error("open");
    if (written) return;
    throw Failure{Code::Value, fmt::format("'{}' cannot be written", printable(path)),
                  reason_of(written.error()), "name another file"};
}

bool is_missing(const std::string& path) noexcept {
    return ::access(path.c_str(), F_OK) < 0 && errno == ENOENT;
}

std::expected<std::string, std::string> read_text(const std::string& path, std::uint64_t most) {
    const UniqueFd file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!file) return std::unexpected{reason_of(os_error("open"))};
    return read_text(file, most);
}

std::expected<std::string, std::string> read_text(const UniqueFd& file, std::uint64_t most) {
    const auto size = file_size(file);
    if (!size) return std::unexpected{reason_of(size.error())};
    if (*size > most) return std::unexpected{fmt::format("it is larger than {}", size_words(most))};
    std::string text(*size, '\0');
    const auto read = pread_exact(file, std::as_writable_bytes(std::span{text}), 0);
    if (!read) return std::unexpected{reason_of(read.error())};
    return text;
}

}  // namespace holdfast::cli
