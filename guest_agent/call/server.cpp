// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/server.hpp"

#include <array>
#include <cerrno>

#include <sys/socket.h>
#include <unistd.h>

#include "sys/log.hpp"

namespace holdfast::agent::call {
namespace {

constexpr std::size_t kReadBytes = 64U << 10;
/// A peer that sends and does not read is not served further until it has.
constexpr std::size_t kMaxUnsent = kMaxBody / 16;

}  // namespace

struct Server::Connection {
    explicit Connection(UniqueFd peer, std::uint64_t of) noexcept : stream{std::move(peer)}, token{of} {}
    UniqueFd stream;
    std::uint64_t token;
    FrameReader reader;
    Endpoint endpoint = Endpoint::with_host();
    std::vector<std::byte> unsent;
    std::size_t sent = 0;
    [[nodiscard]] std::size_t backlog() const noexcept { return unsent.size() - sent; }
};

Server::Server(UniqueFd listener, Accept accept, Poller& poller, Handler& handler,
               std::uint64_t first_token) noexcept
    : listener_{std::move(listener)},
      accept_{accept},
      poller_{poller},
      handler_{handler},
      first_token_{first_token},
      next_token_{first_token + 1} {}

Server::~Server() = default;

Result<void> Server::start() { return poller_.add(listener_, EPOLLIN, first_token_); }

void Server::event(std::uint64_t token, std::uint32_t events) {
    if (token == first_token_) return accept_one();
    const auto found = connections_.find(token);
    if (found == connections_.end()) return;
    const auto served = serve(*found->second, events);
    if (served) return;
    if (served.error().fault == Fault::Peer) log::warn("peer_broke_a_call", served.error());
    connections_.erase(found);
}

void Server::accept_one() {
    auto peer = accept_(listener_);
    if (!peer) return;
    if (connections_.size() >= kMaxConnections) return;  // it is closed, and may try again
    auto connection = std::make_unique<Connection>(std::move(*peer), next_token_++);
    if (const auto added = poller_.add(connection->stream, EPOLLIN, connection->token); !added) {
        return log::warn("connection_not_watched", added.error());
    }
    connections_.emplace(connection->token, std::move(connection));
}

Result<void> Server::serve(Connection& connection, std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) HF_TRY(write_some(connection));
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) HF_TRY(read_some(connection));
    return watch(connection);
}

Result<void> Server::read_some(Connection& connection) {
    if (connection.backlog() > kMaxUnsent) return {};
    std::array<std::byte, kReadBytes> buffer;
    const ssize_t got = ::read(connection.stream.get(), buffer.data(), buffer.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (got < 0) return os_error("read a call");
    if (got == 0) return Error{Fault::Os, 0, "the peer has closed"};
    Bytes input = Bytes{buffer}.first(static_cast<std::size_t>(got));
    while (!input.empty()) {
        auto frame = HF_TRY(connection.reader.take(input));
        if (!frame) break;
        const auto incoming = HF_TRY(connection.endpoint.receive(std::move(*frame)));
        // We ask nothing on this connection, so nothing else can have passed the endpoint.
        const auto* const request = std::get_if<Request>(&incoming);
        if (!request) return peer_fault("an answer to what was not asked");
        HF_TRY(answer(connection, *request));
    }
    return write_some(connection);
}

Result<void> Server::write_some(Connection& connection) {
    while (connection.backlog() > 0) {
        const auto rest = Bytes{connection.unsent}.subspan(connection.sent);
        const ssize_t wrote = ::send(connection.stream.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
        if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return {};
        if (wrote < 0) return os_error("answer a call");
        connection.sent += static_cast<std::size_t>(wrote);
    }
    connection.unsent.clear();
    connection.sent = 0;
    return {};
}

Result<void> Server::watch(Connection& connection) {
    std::uint32_t events = 0;
    if (connection.backlog() > 0) events |= EPOLLOUT;
    if (connection.backlog() <= kMaxUnsent) events |= EPOLLIN;
    return poller_.change(connection.stream, events, connection.token);
}

Result<void> Server::answer(Connection& connection, const Request& request) {
    const Answer answer = handler_.answer(request);
    const auto* const body = std::get_if<std::vector<std::byte>>(&answer);
    auto bytes = HF_TRY(body ? connection.endpoint.reply(request.id, *body)
                             : connection.endpoint.refuse(request.id, std::get<std::uint16_t>(answer)));
    if (connection.backlog() == 0) {
        connection.unsent = std::move(bytes);
        connection.sent = 0;
    } else {
        connection.unsent.insert(connection.unsent.end(), bytes.begin(), bytes.end());
    }
    return {};
}

}  // namespace holdfast::agent::call
