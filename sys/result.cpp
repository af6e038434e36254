// SPDX-License-Identifier: Apache-2.0
#include "sys/result.hpp"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <unistd.h>

namespace holdfast {

Error os_error(const char* what) noexcept { return {Fault::Os, errno, what}; }

std::string_view errno_name(int os_errno) noexcept {
    const char* const name = ::strerrorname_np(os_errno);
    return os_errno == 0 || name == nullptr ? std::string_view{} : std::string_view{name};
}

void bug(const char* what) noexcept {
    // Straight to the descriptor: this may run in any thread, in any state.
    constexpr std::string_view prefix = "holdfast: internal error: ";
    [[maybe_unused]] ssize_t ignored = ::write(STDERR_FILENO, prefix.data(), prefix.size());
    ignored = ::write(STDERR_FILENO, what, std::strlen(what));
    ignored = ::write(STDERR_FILENO, "\n", 1);
    std::abort();
}

}  // namespace holdfast
