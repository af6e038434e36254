// SPDX-License-Identifier: Apache-2.0
// The guest's console: bytes between the VMM, at most one person, and a log file of bounded size.
// Guest output is slowed down, not lost, for someone who reads; someone who stops reading loses
// output, and never stops the guest for longer than kStall.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sys/fd.hpp"
#include "sys/rate.hpp"
#include "vmm/io/launch.hpp"

namespace holdfast::io {

/// A file that keeps the newest bytes written to it, between half of `limit` and `limit`.
class BoundedLog {
public:
    /// Writes go to the end of what is there; O_APPEND is taken off.
    static Result<BoundedLog> create(UniqueFd file, std::uint64_t limit);
    Result<void> append(std::span<const std::byte> bytes);
    [[nodiscard]] const UniqueFd& file() const noexcept { return file_; }

private:
    BoundedLog(UniqueFd file, std::uint64_t size, std::uint64_t limit) noexcept
        : file_{std::move(file)}, size_{size}, limit_{limit} {}
    Result<void> cut();
    UniqueFd file_;
    std::uint64_t size_;
    std::uint64_t limit_;
};

/// One thread. All descriptors are wanted edge-triggered, both directions.
class Console {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::milliseconds kStall{1000};
    static constexpr std::size_t kClientBuffer = 64 * 1024;
    /// What a guest may write to the log, bytes a second.
    static constexpr std::uint64_t kLogRate = 1 << 20;

    enum class Source : std::uint8_t { Guest, Listener, Client };
    /// Asks the event loop to watch a new client's descriptor as Source::Client.
    class Watch {
    public:
        virtual ~Watch() = default;
        virtual Result<void> watch_client(const UniqueFd& client) = 0;
    };

    static Result<Console> create(UniqueFd guest, UniqueFd listener, UniqueFd client, UniqueFd log,
                                  Clock::time_point now);

    void event(Source source, std::uint32_t events) noexcept;
    /// A bounded piece of work; false when there is nothing to do until the next event or deadline().
    bool turn(Watch& watch, Clock::time_point now) noexcept;
    [[nodiscard]] std::optional<Clock::time_point> deadline() const noexcept { return deadline_; }
    /// The VMM has closed its end and everything it wrote was passed on (or its time is over).
    [[nodiscard]] bool finished() const noexcept {
        return guest_closed_ && held_.empty() && (!client_ || to_client_.empty() || stalled_);
    }
    void list_descriptors(std::vector<int>& into) const;
    [[nodiscard]] bool guest_closed() const noexcept { return guest_closed_; }
    [[nodiscard]] const UniqueFd& guest() const noexcept { return guest_; }
    [[nodiscard]] const UniqueFd& listener() const noexcept { return listener_; }
    [[nodiscard]] const UniqueFd& client() const noexcept { return client_; }

private:
    Console(UniqueFd guest, UniqueFd listener, UniqueFd client, BoundedLog log,
            Clock::time_point now) noexcept;
    bool accept_clients(Watch& watch) noexcept;
    bool take_output(Clock::time_point now) noexcept;
    bool log_held(Clock::time_point now) noexcept;
    bool show_output(Clock::time_point now) noexcept;
    bool take_input() noexcept;
    bool pass_input() noexcept;
    void drop_client() noexcept;
    void to_log(std::span<const std::byte> bytes) noexcept;
    void wake_at(Clock::time_point when) noexcept;

    UniqueFd guest_;
    UniqueFd listener_;
    UniqueFd client_;
    BoundedLog log_;
    TokenBucket log_rate_;
    bool guest_readable_ = true;
    bool guest_writable_ = true;
    bool guest_closed_ = false;
    bool listener_readable_ = true;
    bool client_readable_ = true;
    bool client_writable_ = true;
    bool client_input_over_ = false;
    bool stalled_ = false;  ///< the client does not read; output goes on without it
    bool log_failed_ = false;

    std::array<std::byte, 4096> chunk_{};
    std::span<const std::byte> held_;  ///< part of chunk_: guest output not yet in the log
    std::uint64_t unlogged_ = 0;       ///< bytes the log has missed for its rate
    std::vector<std::byte> to_client_;
    std::uint64_t unshown_ = 0;  ///< bytes a stalled client has missed
    std::optional<Clock::time_point> blocked_since_;
    std::array<std::byte, 512> input_{};
    std::span<const std::byte> to_guest_;  ///< part of input_
    std::optional<Clock::time_point> deadline_;
};

}  // namespace holdfast::io
