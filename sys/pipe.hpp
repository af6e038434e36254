// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>

#include <fcntl.h>
#include <unistd.h>

#include "sys/fd.hpp"

namespace holdfast {

struct Pipe {
    UniqueFd reading;
    UniqueFd writing;
};

/// Both ends close on exec.
inline Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) < 0) return os_error("pipe");
    return Pipe{.reading = UniqueFd{ends[0]}, .writing = UniqueFd{ends[1]}};
}

}  // namespace holdfast
