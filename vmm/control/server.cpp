// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <sys/socket.h>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::control {
namespace {

constexpr std::size_t kReadSize = 4096;

}  // namespace

Result<std::unique_ptr<Server>> Server::create(UniqueFd listener, Poller& poller, Tokens tokens,
                                               Machine& machine) {
    return create(
        std::move(listener), poller, tokens,
        Answers{.greeting = greeting(), .answer = [&machine](std::string_view text, Session& session) {
                    return answer(text, session, machine);
                }});
}

Result<std::unique_ptr<Server>> Server::create(UniqueFd listener, Poller& poller, Tokens tokens,
                                               Answers answers) {
    HF_TRY(set_nonblocking(listener));
    HF_TRY(poller.add(listener, EPOLLIN, tokens.listener));
    return std::unique_ptr<Server>{new Server{std::move(listener), poller, tokens, std::move(answers)}};
}

Server::Server(UniqueFd listener, Poller& poller, Tokens tokens, Answers answers) noexcept
    : listener_{std::move(listener)}, poller_{poller}, tokens_{tokens}, answers_{std::move(answers)} {}

Server::~Server() {
    if (client_) drop("the VM ends");
    (void)poller_.remove(listener_);
}

void Server::on_ready(std::uint64_t token) {
    if (token == tokens_.listener && !client_) accept();
    if (token != tokens_.session || !client_) return;
    flush();
    // What was received earlier comes first; while answers wait for the client, nothing more is read.
    if (client_ && unsent_.empty() && !unread_.empty()) handle(std::exchange(unread_, {}));
    if (client_ && unsent_.empty()) read_input();
    if (client_) watch_session();
}

void Server::accept() {
    auto client = accept_unix(listener_);
    if (!client) {
        const int why = client.error().os_errno;
        if (why != EAGAIN && why != ECONNABORTED && why != EINTR) log::warn("control.accept", client.error());
        return;
    }
    if (auto started = start(std::move(*client), {}); !started) {
        log::warn("control.client", started.error());
        return;
    }
    send(answers_.greeting);
}

Result<void> Server::start(UniqueFd client, Session session) {
    HF_TRY(poller_.add(client, EPOLLIN, tokens_.session));
    client_ = std::move(client);
    watched_ = EPOLLIN;
    session_ = session;
    watch_listener();
    return {};
}

void Server::read_input() {
    std::array<char, kReadSize> chunk{};
    const ssize_t got = ::recv(client_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
    if (got > 0) return handle(std::string_view{chunk.data(), static_cast<std::size_t>(got)});
    if (got == 0) return drop("it left");
    if (errno != EAGAIN && errno != EINTR) drop("its socket failed");
}

void Server::handle(std::string_view input) {
    while (client_ && unsent_.empty()) {
        const auto item = scanner_.next(input);
        if (!item) return;
        handle(*item);
    }
    if (client_) unread_ = input;
}

void Server::handle(const Scanner::Item& item) {
    switch (item.kind) {
        case Scanner::Kind::Text: return send(answers_.answer(item.text, session_));
        case Scanner::Kind::Malformed: return send(json_error("parse error, unexpected input"));
        case Scanner::Kind::TooLong: send(json_error("token size limit exceeded")); break;
        case Scanner::Kind::TooDeep: send(json_error("nesting depth limit exceeded")); break;
    }
    if (client_) drop("its message is too big");
}

void Server::emit(const Event& event) {
    if (client_ && session_.negotiated) emit(describe(event));
}

void Server::emit(std::string_view lines) {
    if (!client_ || !session_.negotiated) return;
    if (unsent_.size() > kMaxUnsent) return drop("it does not read");
    send(lines);
}

void Server::send(std::string_view lines) {
    if (!client_) return;  // dropped while its command was carried out
    unsent_ += lines;
    flush();
}

void Server::flush() {
    std::size_t sent = 0;
    while (sent < unsent_.size()) {
        const std::string_view rest = std::string_view{unsent_}.substr(sent);
        const ssize_t put = ::send(client_.get(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) break;
        if (put < 0) return drop("it left without reading");
        sent += static_cast<std::size_t>(put);
    }
    unsent_.erase(0, sent);
    watch_session();
}

void Server::drop(const char* why) {
    log::info("control.client_dropped", {{"why", why}});
    if (auto removed = poller_.remove(client_); !removed) log::error("control.unwatch", removed.error());
    client_.reset();
    session_ = {};
    scanner_ = {};
    unread_.clear();
    unsent_.clear();
    watch_listener();
}

void Server::watch_listener() {
    // Level-triggered: with a client here, those that wait must not wake us.
    const std::uint32_t events = client_ ? 0U : EPOLLIN;
    if (auto changed = poller_.change(listener_, events, tokens_.listener); !changed) {
        log::error("control.watch", changed.error());
    }
}

void Server::watch_session() {
    const std::uint32_t events = unsent_.empty() && unread_.empty() ? EPOLLIN : EPOLLOUT;
    if (events == watched_) return;
    watched_ = events;
    if (auto changed = poller_.change(client_, events, tokens_.session); !changed) {
        log::error("control.watch", changed.error());
    }
}

Result<void> Server::adopt_session(UniqueFd client, Cause cause) {
    check(!client_, "there is a control client already");
    HF_TRY(set_nonblocking(client));
    HF_TRY(start(std::move(client), {.negotiated = true}));
    emit({.kind = EventKind::Reset, .cause = cause});
    return {};
}

UniqueFd Server::release_session() {
    if (!client_ || !session_.negotiated) return {};
    flush();
    if (!client_) return {};
    if (!unsent_.empty()) {
        drop("it is slow to read and the VM restarts");
        return {};
    }
    if (auto removed = poller_.remove(client_); !removed) log::error("control.unwatch", removed.error());
    session_ = {};
    scanner_ = {};
    unread_.clear();
    UniqueFd released = std::move(client_);
    watch_listener();
    return released;
}

void Server::drain(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (client_ && !unsent_.empty()) {
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return;
        pollfd wait{.fd = client_.get(), .events = POLLOUT, .revents = 0};
        if (::poll(&wait, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) return;
        flush();
    }
}

}  // namespace holdfast::control
