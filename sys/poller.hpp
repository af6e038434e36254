// SPDX-License-Identifier: Apache-2.0
// Waiting for several descriptors: a thin owner of an epoll instance.
#pragma once

#include <cstdint>
#include <span>

#include <sys/epoll.h>

#include "sys/fd.hpp"

namespace holdfast {

/// Level-triggered. One thread waits; any thread may add, change and remove.
class Poller {
public:
    static Result<Poller> create();

    /// `token` comes back in Event::data.u64. `events` are EPOLLIN, EPOLLOUT, ...
    Result<void> add(const UniqueFd& fd, std::uint32_t events, std::uint64_t token);
    Result<void> change(const UniqueFd& fd, std::uint32_t events, std::uint64_t token);
    /// Before the descriptor is closed, where it has been duplicated or passed on.
    Result<void> remove(const UniqueFd& fd);
    /// Fills the front of `out`; an empty span after `timeout_ms` (-1: no limit) or a signal.
    Result<std::span<epoll_event>> wait(std::span<epoll_event> out, int timeout_ms) const;
    [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }

private:
    explicit Poller(UniqueFd fd) noexcept : fd_{std::move(fd)} {}
    Result<void> control(int operation, const UniqueFd& fd, std::uint32_t events, std::uint64_t token);
    UniqueFd fd_;
};

}  // namespace holdfast
