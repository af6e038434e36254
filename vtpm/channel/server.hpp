// SPDX-License-Identifier: Apache-2.0
// The server of the control channel: one client at a time, at a listening socket or at a connected one.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "sys/eventfd.hpp"
#include "sys/poller.hpp"
#include "vtpm/channel/data_port.hpp"
#include "vtpm/channel/request.hpp"

namespace holdfast::vtpm::channel {

struct Sockets {
    UniqueFd listener;  ///< a client a time, for ever
    UniqueFd control;   ///< or one that is connected, and the server ends with it
    UniqueFd data;      ///< optional: its data channel, else it comes by SET_DATAFD
    UniqueFd quotes;    ///< optional, SEQPACKET: where the host asks for quotes (vtpm/quote.hpp)
};

class Server {
public:
    /// Ends when `handover` (the launcher's socket) does. Borrowed references outlive the server.
    static Result<std::unique_ptr<Server>> create(Sockets sockets, Service& service,
                                                  const UniqueFd& handover);
    /// Starts a thread for each data channel. Returns when there is nobody left to serve; an error is
    /// the service's own, not a client's.
    Result<void> run();
    [[nodiscard]] std::vector<int> descriptors() const;

private:
    using Clock = std::chrono::steady_clock;
    enum class Source : std::uint64_t { Handover, Listener, Client, Data, Quotes, Quoted };

    Server(Sockets sockets, Service& service, Poller poller, EventFd data_ended)
        : sockets_{std::move(sockets)},
          service_{service},
          poller_{std::move(poller)},
          data_ended_{std::move(data_ended)} {}
    Result<void> adopt(UniqueFd client);
    Result<void> handle(Source source);
    Result<void> accept_client();
    Result<void> client_bytes();
    Result<void> answer_requests();
    Result<void> answer(const Request& request);
    Result<void> set_data(UniqueFd data);
    Result<void> drop_client(const Error* why);
    Result<void> accept_quoted();
    Result<void> answer_quoted();
    /// Drops the client over an error of its own; passes on one that is fatal.
    Result<void> judge(const Error& error);
    [[nodiscard]] int timeout_ms() const noexcept;

    Sockets sockets_;
    Service& service_;
    Poller poller_;
    EventFd data_ended_;
    UniqueFd client_;
    UniqueFd quoted_;  // one a time; the next waits in the queue
    std::unique_ptr<DataPort> data_;
    std::vector<std::byte> input_;
    std::vector<UniqueFd> input_fds_;
    std::optional<Clock::time_point> deadline_;  // for the rest of a request
    bool leave_client_ = false;                  // it has sent SHUTDOWN
    bool over_ = false;
};

}  // namespace holdfast::vtpm::channel
