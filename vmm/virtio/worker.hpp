// SPDX-License-Identifier: Apache-2.0
// The VM's device thread: waits for kicks, completions and descriptors, and lets devices run. After
// work it spins for a moment before it sleeps, for as long as that has been paying.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "sys/eventfd.hpp"
#include "sys/poller.hpp"
#include "sys/result.hpp"
#include "sys/spin.hpp"
#include "vmm/io/client.hpp"
#include "vmm/virtio/pci_transport.hpp"

namespace holdfast::virtio {

/// create(), add() each transport, start(). The owner's thread calls everything.
class Worker {
public:
    using Clock = std::chrono::steady_clock;

    /// `client` may be null for a VM without I/O process. `on_failure` is called once, on the
    /// device thread, when it cannot go on (the I/O process broke the protocol): end the VM.
    static Result<std::unique_ptr<Worker>> create(io::Client* client,
                                                  std::function<void(const Error&)> on_failure);
    /// Ends the thread without waiting for requests under way.
    ~Worker();

    /// Borrowed; outlives the worker. Before start().
    Result<void> add(PciTransport& transport);
    void start();

    /// Returns when no device touches guest memory any more: requests under way have completed and
    /// used rings are up to date. Stop the vCPUs first, or a busy guest may keep it from returning.
    /// Registers still answer.
    void pause() noexcept;
    void resume() noexcept;

    /// One round of work without sleeping; true if anything was done. What the thread does; public
    /// for tests and fuzzers, which have no thread.
    bool turn() noexcept;

private:
    enum class Mode : std::uint8_t { Run, Pause, Quit };         // what the owner wants
    enum class State : std::uint8_t { Running, Parked, Ended };  // what the thread does
    struct Unit {
        PciTransport* transport = nullptr;
        bool ready = false;  ///< something happened that has_work() does not see
        std::uint32_t watched_events = 0;
    };

    Worker(io::Client* client, std::function<void(const Error&)> on_failure, EventFd control,
           Poller poller) noexcept;
    void loop() noexcept;
    bool take_completions() noexcept;
    void sleep(Clock::time_point now) noexcept;
    void poll(int timeout_ms) noexcept;
    void watch(std::size_t index) noexcept;
    [[nodiscard]] bool may_sleep() noexcept;
    [[nodiscard]] int timeout_ms(Clock::time_point now) const noexcept;
    [[nodiscard]] bool is_idle() const noexcept;
    void park() noexcept;
    void fail(const Error& error) noexcept;

    io::Client* client_;
    std::function<void(const Error&)> on_failure_;
    EventFd control_;
    Poller poller_;
    std::vector<Unit> units_;
    Spin spin_;
    bool failed_ = false;
    std::atomic<Mode> mode_{Mode::Run};
    std::atomic<State> state_{State::Parked};
    std::jthread thread_;
};

}  // namespace holdfast::virtio
