// SPDX-License-Identifier: Apache-2.0
// One round of poll(2): what to wait for is said anew each time, so it cannot be out of date.
#pragma once

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <vector>

#include <poll.h>

namespace holdfast::cli {

class PollSet {
public:
    using Slot = std::size_t;
    static constexpr Slot kNone = ~Slot{0};

    Slot add(int fd, short events) {
        fds_.push_back({.fd = fd, .events = events, .revents = 0});
        return fds_.size() - 1;
    }
    /// Waits at most `limit` (negative: for ever). Signals do not end it early in a way that matters:
    /// nothing is ready then.
    void wait(std::chrono::milliseconds limit) {
        if (::poll(fds_.data(), fds_.size(), static_cast<int>(limit.count())) < 0) {
            for (pollfd& fd : fds_) fd.revents = 0;
        }
    }
    /// Ready, at its end, or broken: a read or write will not block.
    [[nodiscard]] bool ready(Slot slot) const { return slot != kNone && fds_[slot].revents != 0; }

private:
    std::vector<pollfd> fds_;
};

}  // namespace holdfast::cli
