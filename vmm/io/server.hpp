// SPDX-License-Identifier: Apache-2.0
// The I/O process's one thread: takes requests from the ring, gives them to whom they are for, and
// sleeps when there is nothing to do.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "sys/poller.hpp"
#include "vmm/io/console.hpp"
#include "vmm/io/disks.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/io/net.hpp"
#include "vmm/io/request_ring.hpp"
#include "vmm/io/vsock.hpp"

namespace holdfast::io {

class Server final : private VsockHost, private Console::Watch {
public:
    /// Everything that needs system calls which the jail forbids later. `handover` is the socket to the
    /// command line and outlives the server; its end is made non-blocking.
    static Result<std::unique_ptr<Server>> create(LaunchConfig config, const UniqueFd& handover,
                                                  DiskEngine engine = DiskEngine::UringIfPermitted);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() override = default;

    /// All that are open: for the jail, which closes every other one.
    [[nodiscard]] std::vector<int> descriptors() const;
    /// Serves until the command line or the VMM is gone. Peer error: the VMM broke the protocol.
    Result<void> run();

private:
    using Clock = std::chrono::steady_clock;
    enum class Source : std::uint32_t { Handover, Requests, Disks, Net, VsockListener, VsockStream, Console };

    Server(const UniqueFd& handover, Poller poller, RequestRing ring) noexcept
        : handover_{handover}, poller_{std::move(poller)}, ring_{std::move(ring)} {}
    Result<void> attach(LaunchConfig config, DiskEngine engine);
    Result<void> watch(const UniqueFd& fd, std::uint32_t events, Source source, std::uint32_t id = 0);

    Result<bool> take_requests();
    Result<bool> round();
    /// Waits for events, at most until the next deadline; 0 only looks.
    Result<void> wait(bool block);
    Result<void> handle(std::uint64_t token, std::uint32_t events);
    Result<void> take_answers();
    [[nodiscard]] int timeout_ms() const noexcept;
    [[nodiscard]] bool over() const noexcept;

    Result<void> watch_stream(const UniqueFd& stream, std::uint32_t id) override;
    Result<void> ask_for_connection(const VsockConnect& request) override;
    Result<void> watch_client(const UniqueFd& client) override;

    const UniqueFd& handover_;
    Poller poller_;
    RequestRing ring_;
    std::optional<Disks> disks_;
    std::optional<Net> net_;
    std::optional<Vsock> vsock_;
    std::optional<Console> console_;
    SpinBudget spin_;
    Clock::time_point now_ = Clock::now();
    std::optional<Clock::time_point> last_words_;  ///< the VMM is gone: when to stop passing on its output
    bool launcher_gone_ = false;
};

}  // namespace holdfast::io
