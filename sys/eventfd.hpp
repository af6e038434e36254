// SPDX-License-Identifier: Apache-2.0
// An eventfd: a wake-up that counts and never blocks.
#pragma once

#include "sys/fd.hpp"

namespace holdfast {

/// Non-blocking eventfd. Any thread may signal; one reader drains.
class EventFd {
public:
    static Result<EventFd> create();
    /// Takes over an eventfd that another process made.
    explicit EventFd(UniqueFd fd) noexcept : fd_{std::move(fd)} {}

    /// Wakes the reader. Cannot fail: a full counter means the reader has a wake-up pending already.
    void signal() const noexcept;
    /// Takes all pending wake-ups; true if there was one.
    bool drain() const noexcept;
    [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }

private:
    UniqueFd fd_;
};

}  // namespace holdfast
