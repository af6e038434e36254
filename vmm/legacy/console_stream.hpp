// SPDX-License-Identifier: Apache-2.0
// The socket that carries the guest console's bytes to and from holdfast-io. Output leaves on the
// vCPU's thread as long as the socket takes it; else a bounded buffer waits for the main loop.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>

#include "sys/fd.hpp"
#include "sys/poller.hpp"
#include "sys/thread.hpp"
#include "vmm/legacy/console.hpp"

namespace holdfast::legacy {

inline constexpr std::size_t kConsoleBuffer = 64 * 1024;

/// ConsoleSink on any thread; everything else on the main loop's.
class ConsoleStream final : public ConsoleSink {
public:
    /// `socket` is a connected stream socket. It is added to `poller` with `token`; the main loop calls
    /// on_ready() when that comes back. The poller is borrowed and outlives this.
    static Result<std::unique_ptr<ConsoleStream>> create(UniqueFd socket, Poller& poller,
                                                         std::uint64_t token);
    ~ConsoleStream() override;

    /// The device that input goes to, borrowed; once, before the guest runs. Input waits until then.
    void attach(ConsoleDevice& device);

    [[nodiscard]] bool ready() const noexcept override { return ready_; }
    std::size_t write(std::span<const std::byte> bytes) noexcept override;
    void input_room() noexcept override;

    /// `events` as the poller gave them. An error means the stream is over: it has left the poller, and
    /// output is thrown away from now on.
    Result<void> on_ready(std::uint32_t events);

    /// Before the process ends: waits at most `limit` for the buffer to empty. True if it did.
    bool drain(std::chrono::milliseconds limit);

private:
    ConsoleStream(UniqueFd socket, Poller& poller, std::uint64_t token);

    /// Sends without waiting; how many bytes the socket took.
    std::size_t send(std::span<const std::byte> bytes) noexcept;
    void keep(std::span<const std::byte> bytes) noexcept HF_REQUIRES(lock_);
    /// Sends from the front of the buffer; true if that made the stream ready again.
    bool flush() noexcept HF_REQUIRES(lock_);
    void watch() noexcept HF_REQUIRES(lock_);
    Result<void> read_input();
    void give_up() noexcept;

    UniqueFd socket_;
    Poller& poller_;
    const std::uint64_t token_;
    ConsoleDevice* device_ = nullptr;
    std::atomic<bool> ready_ = true;

    Mutex lock_;
    bool over_ HF_GUARDED_BY(lock_) = false;
    bool wants_input_ HF_GUARDED_BY(lock_) = false;
    std::uint32_t watched_ HF_GUARDED_BY(lock_) = 0;
    using Buffer = std::array<std::byte, kConsoleBuffer>;
    std::unique_ptr<Buffer> buffer_ HF_GUARDED_BY(lock_);  // a ring; its pages cost nothing until used
    std::size_t head_ HF_GUARDED_BY(lock_) = 0;
    std::size_t count_ HF_GUARDED_BY(lock_) = 0;
};

}  // namespace holdfast::legacy
