// SPDX-License-Identifier: Apache-2.0
// Answering calls in the clear on a stream socket: the agent's for its host, and the host's for a guest.
// Whoever is on the other side may do what it likes; it costs itself its connection.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <variant>
#include <vector>

#include "guest_agent/call/endpoint.hpp"
#include "sys/poller.hpp"

namespace holdfast::agent::call {

/// A reply's body, or the code of a refusal.
using Answer = std::variant<std::vector<std::byte>, std::uint16_t>;

/// What is called. On the server's thread; what it takes, the others wait.
class Handler {
public:
    Handler() = default;
    Handler(const Handler&) = delete;
    Handler& operator=(const Handler&) = delete;
    virtual ~Handler() = default;
    [[nodiscard]] virtual Answer answer(const Request& request) = 0;
};

/// One thread. `poller` and `handler` outlive it. Its tokens are `first_token` and those that it counts on
/// to.
class Server {
public:
    static constexpr std::size_t kMaxConnections = 4;
    /// Takes a waiting client of a listener, non-blocking.
    using Accept = Result<UniqueFd> (*)(const UniqueFd& listener);

    Server(UniqueFd listener, Accept accept, Poller& poller, Handler& handler,
           std::uint64_t first_token) noexcept;
    ~Server();
    Result<void> start();
    /// An event of the poller whose token is one of ours.
    void event(std::uint64_t token, std::uint32_t events);

private:
    struct Connection;
    void accept_one();
    Result<void> serve(Connection& connection, std::uint32_t events);
    Result<void> read_some(Connection& connection);
    Result<void> write_some(Connection& connection);
    Result<void> answer(Connection& connection, const Request& request);
    Result<void> watch(Connection& connection);

    UniqueFd listener_;
    Accept accept_;
    Poller& poller_;
    Handler& handler_;
    std::uint64_t first_token_;
    std::uint64_t next_token_;
    std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
};

}  // namespace holdfast::agent::call
