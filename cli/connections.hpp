// SPDX-License-Identifier: Apache-2.0
// Connections that are served each on a thread of its own, at most so many at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <list>
#include <thread>

#include "sys/fd.hpp"

namespace holdfast::cli {

/// One thread. At its end it shuts all sockets down and waits for their threads.
class Connections {
public:
    /// Serves one to its end, which comes soon once the socket is shut down.
    using Serve = std::function<void(const UniqueFd& socket)>;
    explicit Connections(std::size_t most) noexcept : most_{most} {}
    ~Connections();
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;

    /// False: there are as many as there may be, and this one is closed.
    [[nodiscard]] bool take(UniqueFd socket, Serve serve);

private:
    struct Connection {
        UniqueFd socket;
        std::atomic<bool> is_over = false;
        std::jthread thread;  // last: it uses the others
    };
    std::size_t most_;
    std::list<Connection> all_;
};

}  // namespace holdfast::cli
