// SPDX-License-Identifier: Apache-2.0
// The anchor's one thread: gathers what its clients ask, lets the clerk settle it, carries the answers. What
// arrives while the disk and the TPM are busy is the next batch; there is no timer.
#pragma once

#include <map>

#include "sys/poller.hpp"
#include "vtpm/anchor/clerk.hpp"

namespace holdfast::anchor {

inline constexpr std::size_t kMaxClients = 16'384;

class Server {
public:
    static Result<Server> create(const UniqueFd& handover, UniqueFd listener, Clerk& clerk);
    /// Until the launcher closes its end, or the anchor dies: then with the error that killed it.
    Result<void> run();

private:
    Server(UniqueFd listener, Clerk& clerk, Poller poller) noexcept
        : listener_{std::move(listener)}, clerk_{clerk}, poller_{std::move(poller)} {}
    Result<void> gather(int timeout_ms);
    void accept_clients();
    void hear(ClientId client);
    void drop(ClientId client);
    [[nodiscard]] int timeout_ms() const;

    UniqueFd listener_;
    Clerk& clerk_;
    Poller poller_;
    // As many as may be waiting: each gets into the next batch.
    std::vector<epoll_event> events_ = std::vector<epoll_event>(2048);
    std::map<ClientId, UniqueFd> clients_;
    ClientId next_ = 2;  ///< 0 and 1 are the tokens of the two sockets that are not clients
    bool over_ = false;
};

}  // namespace holdfast::anchor
