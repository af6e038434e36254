// SPDX-License-Identifier: Apache-2.0
// The control socket: one QMP client at a time, as in QEMU; others wait in the listen queue. Nothing
// here blocks, and nothing a client does makes it grow.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "sys/fd.hpp"
#include "sys/poller.hpp"
#include "vmm/control/event.hpp"
#include "vmm/control/machine.hpp"
#include "vmm/control/protocol.hpp"
#include "vmm/control/scanner.hpp"

namespace holdfast::control {

/// A client that lets this much wait unread is dropped at the next event.
inline constexpr std::size_t kMaxUnsent = 256 * 1024;

/// What a client reads at first, and what to each of its messages (complete lines, as protocol.hpp's).
struct Answers {
    std::string greeting;
    std::function<std::string(std::string_view text, Session& session)> answer;
};

/// The main loop's thread only.
class Server {
public:
    struct Tokens {
        std::uint64_t listener = 0;
        std::uint64_t session = 0;
    };
    /// `listener` is a listening stream socket. The main loop calls on_ready() when one of `tokens`
    /// comes back from `poller`. Poller and machine are borrowed and outlive this.
    static Result<std::unique_ptr<Server>> create(UniqueFd listener, Poller& poller, Tokens tokens,
                                                  Machine& machine);
    /// The same for whoever speaks for a machine.
    static Result<std::unique_ptr<Server>> create(UniqueFd listener, Poller& poller, Tokens tokens,
                                                  Answers answers);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    /// A client's faults end that client, never the VM, so there is no error to return.
    void on_ready(std::uint64_t token);

    /// Tells the client, if there is one and it has negotiated.
    void emit(const Event& event);
    void emit(std::string_view lines);

    /// Goes on with a client that negotiated with the VMM before a guest reboot, and tells it RESET.
    /// Before the first on_ready().
    Result<void> adopt_session(UniqueFd client, Cause cause);
    /// The client for the next VMM; empty if there is none, if it has not negotiated, or if it is slow
    /// to read (it is dropped then, because half a message cannot be handed over). What we have
    /// received and not answered is lost. Not from within a command.
    [[nodiscard]] UniqueFd release_session();
    /// Before the process ends: waits at most `limit` for the client to take what it was told.
    void drain(std::chrono::milliseconds limit);

private:
    Server(UniqueFd listener, Poller& poller, Tokens tokens, Answers answers) noexcept;

    void accept();
    Result<void> start(UniqueFd client, Session session);
    void read_input();
    /// Answers what is complete in `input`, until the client has to read first; keeps the rest.
    void handle(std::string_view input);
    void handle(const Scanner::Item& item);
    void send(std::string_view lines);
    void flush();
    void drop(const char* why);
    void watch_listener();
    void watch_session();

    UniqueFd listener_;
    Poller& poller_;
    const Tokens tokens_;
    const Answers answers_;

    UniqueFd client_;
    std::uint32_t watched_ = 0;  // what the poller reports of client_
    Session session_;
    Scanner scanner_;
    std::string unread_;  // received, not yet looked at: at most one read's worth
    std::string unsent_;
};

}  // namespace holdfast::control
