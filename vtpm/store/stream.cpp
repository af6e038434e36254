// SPDX-License-Identifier: Apache-2.0
#include "vtpm/store/stream.hpp"

#include <cerrno>

#include <unistd.h>

namespace holdfast::vtpm::store {

Result<bool> read_or_end(const UniqueFd& fd, std::span<std::byte> out) {
    while (!out.empty()) {
        const ssize_t n = ::read(fd.get(), out.data(), out.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return os_error("read from the state service's socket");
        if (n == 0) return false;
        out = out.subspan(static_cast<std::size_t>(n));
    }
    return true;
}

}  // namespace holdfast::vtpm::store
