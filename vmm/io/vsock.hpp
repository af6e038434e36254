// SPDX-License-Identifier: Apache-2.0
// The host side of a guest's vsock (Virtio 1.2 §5.10): stream connections between guest ports and
// Unix sockets. Host clients say `CONNECT <port>\n` and hear `OK <host port>\n`; a guest that
// connects to CID 2 reaches a Unix socket that the command line connects for us. Left out: seqpacket
// sockets, and guest to guest.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sys/fd.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/io/request_ring.hpp"
#include "vmm/io/vsock_packet.hpp"

namespace holdfast::io {

/// What the connections need from the process around them. Called on its one thread.
class VsockHost {
public:
    virtual ~VsockHost() = default;
    /// Watch `stream`, edge-triggered, both directions; events come back to Vsock::event() with `id`.
    virtual Result<void> watch_stream(const UniqueFd& stream, std::uint32_t id) = 0;
    /// Ask the command line for a connection; its answer comes back to Vsock::answer().
    virtual Result<void> ask_for_connection(const VsockConnect& request) = 0;
};

/// One thread. `ring` and `host` outlive it.
class Vsock {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kMaxConnections = 256;
    /// What a guest may send on one connection before the host's program reads it.
    static constexpr std::uint32_t kBufAlloc = 64 * 1024;
    /// How long either side may take to open or to close.
    static constexpr std::chrono::seconds kPatience{10};

    /// `listener` may be empty: then only the guest connects.
    static Result<Vsock> create(UniqueFd listener, RequestRing& ring, VsockHost& host);
    Vsock(Vsock&&) noexcept;
    ~Vsock();

    /// Send and Receive jobs; a packet that means nothing is answered with RST or ignored.
    void start(const Job& job, Clock::time_point now) noexcept;
    void answer(VsockAnswer answer, Clock::time_point now) noexcept;
    void event(std::uint32_t id, std::uint32_t events) noexcept;
    void listener_event() noexcept { listener_readable_ = dirty_ = true; }
    /// A bounded piece of work; false when there is nothing to do until the next job, event or
    /// deadline().
    bool turn(Clock::time_point now) noexcept;
    [[nodiscard]] std::optional<Clock::time_point> deadline() const noexcept { return deadline_; }
    [[nodiscard]] const UniqueFd& listener() const noexcept { return listener_; }
    [[nodiscard]] std::size_t connections() const noexcept { return connections_.size(); }

private:
    struct Connection;
    struct Ports {
        std::uint32_t guest = 0;
        std::uint32_t host = 0;
        friend bool operator==(const Ports&, const Ports&) noexcept = default;
    };

    Vsock(UniqueFd listener, RequestRing& ring, VsockHost& host) noexcept;
    void packet_from_guest(std::span<const std::byte> bytes, Clock::time_point now) noexcept;
    void request_from_guest(Ports ports, const VsockPacket& header, Clock::time_point now) noexcept;
    void act(Connection& connection, const VsockPacket& header, std::span<const std::byte> payload,
             Clock::time_point now) noexcept;
    void data_from_guest(Connection& connection, std::span<const std::byte> payload) noexcept;
    void refuse(Ports ports) noexcept;
    void abort(Connection& connection) noexcept;
    Connection* find(Ports ports) noexcept;
    Connection* find(std::uint32_t id) noexcept;
    Connection* open(UniqueFd stream) noexcept;
    void accept_clients(Clock::time_point now) noexcept;
    void greet(Connection& connection) noexcept;
    void serve(Connection& connection, Clock::time_point now) noexcept;
    bool fill_one(const Job& job) noexcept;
    std::uint32_t next_packet(Connection& connection, std::span<std::byte> out) noexcept;
    std::uint32_t next_host_port() noexcept;

    UniqueFd listener_;
    RequestRing& ring_;
    VsockHost& host_;
    std::vector<std::unique_ptr<Connection>> connections_;
    std::vector<Job> receiving_;  ///< last in first out: the fewest arena pages are touched
    std::deque<Ports> refusals_;  ///< RST to send for what is no connection of ours; bounded
    std::optional<Clock::time_point> deadline_;
    std::size_t turn_of_ = 0;  ///< round robin over connections_
    std::uint32_t last_id_ = 0;
    std::uint32_t last_host_port_ = 0x3fffffff;
    bool listener_readable_ = true;
    bool dirty_ = true;  ///< something happened since turn() found nothing to do
};

}  // namespace holdfast::io
