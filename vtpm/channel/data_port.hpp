// SPDX-License-Identifier: Apache-2.0
// The data channel of one client: raw TPM commands in, responses out, on a thread of its own, so that
// the control channel can cancel a command that is under way.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <thread>

#include "sys/eventfd.hpp"
#include "sys/fd.hpp"
#include "vtpm/channel/spec.hpp"
#include "vtpm/service.hpp"

namespace holdfast::vtpm::channel {

/// Made, destroyed and asked by one thread.
class DataPort {
public:
    /// Serves `socket` from now on; signals `ended` when it stops by itself, once. Borrowed references
    /// outlive this.
    static Result<std::unique_ptr<DataPort>> create(UniqueFd socket, Service& service, const EventFd& ended);
    DataPort(const DataPort&) = delete;
    DataPort& operator=(const DataPort&) = delete;
    /// Cancels what is under way and waits for it.
    ~DataPort();

    /// Why it stopped; once it has ended. A client that hung up is no error.
    [[nodiscard]] const Result<void>& outcome() const noexcept { return outcome_; }
    [[nodiscard]] bool has_ended() const noexcept { return ended_.load(std::memory_order_acquire); }

private:
    DataPort(UniqueFd socket, Service& service, EventFd stop) noexcept
        : socket_{std::move(socket)}, service_{service}, stop_{std::move(stop)} {}
    Result<void> serve();
    Result<void> answer_one();
    enum class Wait : std::uint8_t { Bytes, Late, Stop };
    Wait wait(int timeout_ms) const;
    Result<bool> receive();
    Result<void> refuse_all();

    UniqueFd socket_;
    Service& service_;
    EventFd stop_;
    Result<void> outcome_;  // the thread's, until it has ended
    std::atomic<bool> ended_ = false;
    std::array<std::byte, kMaxTpmBuffer> buffer_{};
    std::size_t filled_ = 0;
    std::jthread thread_;  // last: it uses the rest
};

}  // namespace holdfast::vtpm::channel
