// SPDX-License-Identifier: Apache-2.0
// The other end of a vTPM's two sockets, as a peer that answers what a test tells it to, byte for byte.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include "sys/socket.hpp"
#include "vtpm/channel/spec.hpp"

namespace holdfast::tpm {

class FakeVtpm {
public:
    FakeVtpm() {
        auto [control_theirs, control_ours] = socket_pair(SOCK_STREAM).value();
        auto [data_theirs, data_ours] = socket_pair(SOCK_STREAM).value();
        control_client = std::move(control_theirs);
        data_client = std::move(data_theirs);
        control = std::move(control_ours);
        data = std::move(data_ours);
    }
    /// Exactly so many bytes from the client, waiting for them.
    static std::vector<std::byte> take(const UniqueFd& fd, std::size_t count) {
        std::vector<std::byte> bytes(count);
        const ssize_t got = ::recv(fd.get(), bytes.data(), count, MSG_WAITALL);
        bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return bytes;
    }
    static void give(const UniqueFd& fd, std::span<const std::byte> bytes) {
        ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(bytes.size()));
    }
    static bool is_quiet(const UniqueFd& fd) {
        pollfd item{.fd = fd.get(), .events = POLLIN, .revents = 0};
        return ::poll(&item, 1, 0) == 0;
    }

    UniqueFd control_client;  ///< for the client under test
    UniqueFd data_client;
    UniqueFd control;
    UniqueFd data;
};

}  // namespace holdfast::tpm
