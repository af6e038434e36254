// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/stdio.hpp"

#include <cerrno>

#include <unistd.h>

#include "sys/fd.hpp"

namespace holdfast::agent {

Result<SecretBuffer> read_input(std::size_t most) {
    SecretBuffer input{most + 1};
    std::size_t size = 0;
    while (size < input.bytes().size()) {
        const ssize_t got = ::read(0, input.bytes().data() + size, input.bytes().size() - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return os_error("read standard input");
        if (got == 0) break;
        size += static_cast<std::size_t>(got);
    }
    if (size > most) return input_error("standard input is too long");
    input.cut(size);
    return input;
}

Result<void> write_output(Bytes bytes) {
    const UniqueFd out{::dup(1)};
    if (!out) return os_error("dup standard output");
    return write_all(out, bytes);
}

}  // namespace holdfast::agent
