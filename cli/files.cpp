// SPDX-License-Identifier: Apache-2.0
#include "cli/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

void write_file(const std::string& path, std::span<const std::byte> bytes, mode_t mode) {
    const UniqueFd fd{::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)};
    const auto written = fd ? write_all(fd, bytes) : os_error("open");
    if (written) return;
    throw Failure{Code::Value, fmt::format("'{}' cannot be written", printable(path)),
                  reason_of(written.error()), "name another file"};
}

}  // namespace holdfast::cli
