// SPDX-License-Identifier: Apache-2.0
// The other side of holdfast-io in tests: shared memory, eventfds and sockets as the command line
// makes them, and a Client as the VMM has it.
#pragma once

#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/socket.hpp"
#include "vmm/io/client.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/io/ring.hpp"

namespace holdfast::io::test {

inline constexpr int kPatienceMs = 10'000;

template <typename T>
T must(Result<T> result) {
    if (!result) {
        ADD_FAILURE() << result.error().what << " " << errno_name(result.error().os_errno);
        std::abort();
    }
    if constexpr (!std::is_void_v<T>) return std::move(*result);
}

inline bool wait_readable(const UniqueFd& fd, int ms = kPatienceMs) {
    pollfd entry{fd.get(), POLLIN, 0};
    return ::poll(&entry, 1, ms) == 1;
}

/// An unlinked file of `size` zeroes.
inline UniqueFd temporary_file(std::uint64_t size, int extra_flags = 0) {
    UniqueFd fd{::open("/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | extra_flags, 0600)};
    EXPECT_TRUE(fd) << "O_TMPFILE";
    EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(size)), 0);
    return fd;
}

inline std::vector<std::byte> as_vector(std::string_view text) {
    const auto bytes = std::as_bytes(std::span{text});
    return {bytes.begin(), bytes.end()};
}
inline std::string as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// What both processes of a VM are given.
struct Shared {
    UniqueFd memory = must(sealed_memfd("test-ring", kSharedBytes));
    UniqueFd requests = must(EventFd::create()).fd().duplicate().value();
    UniqueFd completions = must(EventFd::create()).fd().duplicate().value();

    [[nodiscard]] std::unique_ptr<Client> client() const {
        return must(Client::create(memory, EventFd{must(requests.duplicate())},
                                   EventFd{must(completions.duplicate())}));
    }
};

/// Waits for the next completion, as the VM's device thread does.
inline std::optional<Completion> next(Client& client, int ms = kPatienceMs) {
    for (;;) {
        auto completion = client.next_completion();
        if (!completion) {
            ADD_FAILURE() << completion.error().what;
            return std::nullopt;
        }
        if (*completion) return std::move(**completion);
        if (!client.arm()) continue;
        if (!wait_readable(client.completions().fd(), ms)) return std::nullopt;
        client.completions().drain();
    }
}

inline void submit(Client& client, Request request) {
    ASSERT_TRUE(client.submit(request));
    client.flush();
}

}  // namespace holdfast::io::test
