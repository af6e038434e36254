// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/vsock.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::io {
namespace {

constexpr std::uint32_t kBothWays = vsock::SHUTDOWN_F_RECEIVE | vsock::SHUTDOWN_F_SEND;
constexpr std::size_t kMaxRefusals = 64;
constexpr int kPacketsATurn = 64;
constexpr int kAcceptsATurn = 16;
constexpr std::size_t kMaxGreeting = 32;  // "CONNECT 4294967295\n" and a little

/// The port of a greeting without its newline, in the way Firecracker defined it.
std::optional<std::uint32_t> parse_greeting(std::string_view line) noexcept {
    constexpr std::string_view verb = "CONNECT ";
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.starts_with(verb) && !line.starts_with("connect ")) return std::nullopt;
    line.remove_prefix(verb.size());
    std::uint32_t port = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), port);
    if (error != std::errc{} || end != line.data() + line.size() || port == 0xffffffff) {
        return std::nullopt;
    }
    return port;
}

}  // namespace

struct Vsock::Connection {
    enum class State : std::uint8_t {
        Greeting,       ///< a host client that has not said where to
        AwaitingHost,   ///< the guest asked; the command line connects
        AwaitingGuest,  ///< a host client asked; REQUEST is sent or wants to be
        Open,
        Dead,  ///< removed at the end of the turn
    };
    std::uint32_t id = 0;
    State state = State::Greeting;
    Ports ports;
    UniqueFd stream;
    bool readable = true;
    bool writable = true;
    bool hung_up = false;  ///< the host's program is gone altogether

    // From the guest: counts of bytes modulo 2^32, as on the wire (§5.10.6.3).
    std::uint32_t received = 0;
    std::uint32_t forwarded = 0;       ///< fwd_cnt: taken by the host's program's socket
    std::uint32_t forwarded_told = 0;  ///< the last fwd_cnt the guest heard
    std::vector<std::byte> waiting;    ///< received - forwarded bytes, at most kBufAlloc
    // To the guest.
    std::uint32_t sent = 0;
    std::uint32_t guest_buf_alloc = 0;
    std::uint32_t guest_fwd_cnt = 0;

    std::uint32_t guest_shutdown = 0;  ///< flags the guest has sent
    std::uint32_t our_shutdown = 0;    ///< flags that hold for our side
    std::uint32_t shutdown_told = 0;   ///< of those, what the guest has heard
    bool write_shut = false;

    bool owes_request = false;
    bool owes_response = false;
    bool owes_reset = false;  ///< then the connection is over
    bool owes_credit = false;
    bool wants_credit = false;
    bool credit_asked = false;

    std::optional<Clock::time_point> deadline;

    [[nodiscard]] std::uint32_t credit() const noexcept {
        const std::uint32_t under_way = sent - guest_fwd_cnt;
        return under_way < guest_buf_alloc ? guest_buf_alloc - under_way : 0;
    }
    [[nodiscard]] bool may_read() const noexcept {
        return state == State::Open && readable && (our_shutdown & vsock::SHUTDOWN_F_SEND) == 0 &&
               (guest_shutdown & vsock::SHUTDOWN_F_RECEIVE) == 0;
    }
    [[nodiscard]] bool has_packet() const noexcept {
        return owes_reset || owes_request || owes_response || owes_credit || wants_credit ||
               (state == State::Open && our_shutdown != shutdown_told) || (may_read() && credit() != 0);
    }
};

Vsock::Vsock(UniqueFd listener, RequestRing& ring, VsockHost& host) noexcept
    : listener_{std::move(listener)}, ring_{ring}, host_{host} {}
Vsock::Vsock(Vsock&&) noexcept = default;
Vsock::~Vsock() = default;

Result<Vsock> Vsock::create(UniqueFd listener, RequestRing& ring, VsockHost& host) {
    if (listener) HF_TRY(set_nonblocking(listener));
    return Vsock{std::move(listener), ring, host};
}

Vsock::Connection* Vsock::find(Ports ports) noexcept {
    const auto at = std::ranges::find_if(connections_, [&](const auto& connection) {
        return connection->ports == ports && connection->state != Connection::State::Dead &&
               connection->state != Connection::State::Greeting;
    });
    return at == connections_.end() ? nullptr : at->get();
}

Vsock::Connection* Vsock::find(std::uint32_t id) noexcept {
    const auto at =
        std::ranges::find_if(connections_, [&](const auto& connection) { return connection->id == id; });
    return at == connections_.end() ? nullptr : at->get();
}

// A new connection, watched; null when there are too many or it cannot be watched.
Vsock::Connection* Vsock::open(UniqueFd stream) noexcept {
    if (connections_.size() >= kMaxConnections) return nullptr;
    auto connection = std::make_unique<Connection>();
    do {
        connection->id = ++last_id_;
    } while (find(connection->id) != nullptr);  // at most kMaxConnections times
    if (stream) {
        if (const auto watched = host_.watch_stream(stream, connection->id); !watched) {
            log::warn("vsock.refused", watched.error());
            return nullptr;
        }
        connection->stream = std::move(stream);
    }
    connections_.push_back(std::move(connection));
    dirty_ = true;
    return connections_.back().get();
}

void Vsock::start(const Job& job, Clock::time_point now) noexcept {
    dirty_ = true;
    switch (job.op) {
        case Op::Send:
            packet_from_guest(job.bytes, now);
            ring_.complete(job, Status::Ok);
            return;
        case Op::Receive:
            if (job.length <= sizeof(VsockPacket)) {
                ring_.complete(job, Status::Unsupported);
            } else {
                receiving_.push_back(job);
            }
            return;
        case Op::Read:
        case Op::Write:
        case Op::Flush:
        case Op::Discard:
        case Op::WriteZeroes: ring_.complete(job, Status::Unsupported); return;
    }
}

void Vsock::refuse(Ports ports) noexcept {
    // A guest that sends nonsense faster than it takes the answers loses some of them.
    if (refusals_.size() < kMaxRefusals) refusals_.push_back(ports);
}

void Vsock::abort(Connection& connection) noexcept {
    connection.stream.reset();
    connection.waiting = {};
    connection.owes_reset = true;
    dirty_ = true;
}

void Vsock::packet_from_guest(std::span<const std::byte> bytes, Clock::time_point now) noexcept {
    VsockPacket header;
    if (bytes.size() < sizeof header) return;
    // One copy: the VMM may be hostile too. The payload is never interpreted.
    std::memcpy(&header, bytes.data(), sizeof header);
    const auto payload = bytes.subspan(sizeof header);
    const Ports ports{.guest = header.src_port.get(), .host = header.dst_port.get()};
    const std::uint16_t op = header.op.get();
    Connection* const connection = find(ports);
    if (header.type.get() != vsock::TYPE_STREAM || header.len.get() > payload.size()) {
        if (connection != nullptr) abort(*connection);
        else if (op != vsock::OP_RST) refuse(ports);
        return;
    }
    if (connection == nullptr) {
        if (op == vsock::OP_REQUEST) request_from_guest(ports, header, now);
        else if (op != vsock::OP_RST) refuse(ports);
        return;
    }
    connection->guest_buf_alloc = header.buf_alloc.get();
    connection->guest_fwd_cnt = header.fwd_cnt.get();
    connection->credit_asked = false;
    act(*connection, header, payload.first(header.len.get()), now);
}

void Vsock::request_from_guest(Ports ports, const VsockPacket& header, Clock::time_point now) noexcept {
    Connection* const connection = open({});
    if (connection == nullptr) return refuse(ports);
    connection->ports = ports;
    connection->state = Connection::State::AwaitingHost;
    connection->deadline = now + kPatience;
    connection->guest_buf_alloc = header.buf_alloc.get();
    connection->guest_fwd_cnt = header.fwd_cnt.get();
    if (const auto asked = host_.ask_for_connection({.token = connection->id, .port = ports.host}); !asked) {
        log::warn("vsock.refused", asked.error());
        abort(*connection);
    }
}

void Vsock::answer(VsockAnswer answer, Clock::time_point now) noexcept {
    Connection* const connection = find(answer.token);
    if (connection == nullptr || connection->state != Connection::State::AwaitingHost ||
        connection->owes_reset) {
        return;  // given up meanwhile
    }
    dirty_ = true;
    if (!answer.stream) return abort(*connection);
    auto watched = set_nonblocking(answer.stream);
    if (watched) watched = host_.watch_stream(answer.stream, connection->id);
    if (!watched) {
        log::warn("vsock.refused", watched.error());
        return abort(*connection);
    }
    connection->stream = std::move(answer.stream);
    connection->state = Connection::State::Open;
    connection->owes_response = true;
    connection->deadline = now + kPatience;  // until the response is sent
}

void Vsock::act(Connection& connection, const VsockPacket& header, std::span<const std::byte> payload,
                Clock::time_point now) noexcept {
    using State = Connection::State;
    if (connection.owes_reset) {  // over already, and it will hear so
        if (header.op.get() == vsock::OP_RST) connection.state = State::Dead;
        return;
    }
    switch (header.op.get()) {
        case vsock::OP_RST: connection.state = State::Dead; return;
        case vsock::OP_RESPONSE: {
            if (connection.state != State::AwaitingGuest || connection.owes_request) break;
            std::array<char, 16> text{'O', 'K', ' '};
            const auto end = std::to_chars(text.begin() + 3, text.end() - 1, connection.ports.host);
            *end.ptr = '\n';
            const auto size = static_cast<std::size_t>(end.ptr + 1 - text.data());
            // The first bytes of a fresh socket always fit; a client that is gone shows here.
            if (::send(connection.stream.get(), text.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL) !=
                static_cast<ssize_t>(size)) {
                break;
            }
            connection.state = State::Open;
            connection.deadline.reset();
            return;
        }
        case vsock::OP_SHUTDOWN:
            if (connection.state != State::Open) break;
            connection.guest_shutdown |= header.flags.get() & kBothWays;
            if (connection.guest_shutdown == kBothWays) connection.deadline = now + kPatience;
            return;
        case vsock::OP_RW:
            if (connection.state != State::Open ||
                (connection.guest_shutdown & vsock::SHUTDOWN_F_SEND) != 0) {
                break;
            }
            return data_from_guest(connection, payload);
        case vsock::OP_CREDIT_UPDATE: return;
        case vsock::OP_CREDIT_REQUEST: connection.owes_credit = connection.state == State::Open; return;
        default: break;  // the guest's value: REQUEST of what is open already, or nothing we know
    }
    abort(connection);
}

void Vsock::data_from_guest(Connection& connection, std::span<const std::byte> payload) noexcept {
    // More than the credit it was given: the guest does not follow the protocol.
    if (payload.size() > kBufAlloc - (connection.received - connection.forwarded)) return abort(connection);
    connection.received += static_cast<std::uint32_t>(payload.size());
    if (connection.hung_up) {
        connection.forwarded = connection.received;
        return;
    }
    if (connection.waiting.empty() && connection.writable) {
        const ssize_t put =
            ::send(connection.stream.get(), payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put > 0) {
            connection.forwarded += static_cast<std::uint32_t>(put);
            payload = payload.subspan(static_cast<std::size_t>(put));
        } else if (put < 0 && errno != EAGAIN && errno != EINTR) {
            connection.hung_up = true;
            connection.forwarded = connection.received;
            return;
        }
    }
    connection.waiting.insert(connection.waiting.end(), payload.begin(), payload.end());
}

void Vsock::event(std::uint32_t id, std::uint32_t events) noexcept {
    Connection* const connection = find(id);
    if (connection == nullptr) return;
    dirty_ = true;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) connection->readable = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) connection->writable = true;
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) connection->hung_up = true;
}

void Vsock::accept_clients(Clock::time_point now) noexcept {
    if (!listener_) return;
    // While there is no room clients wait in the listener's queue.
    for (int i = 0; i < kAcceptsATurn && listener_readable_ && connections_.size() < kMaxConnections; ++i) {
        auto accepted = accept_unix(listener_);
        if (!accepted) {
            listener_readable_ = false;
            return;
        }
        if (Connection* const connection = open(std::move(*accepted))) {
            connection->deadline = now + kPatience;
        }
    }
}

// Reads the greeting and not a byte more: what follows is the guest's.
void Vsock::greet(Connection& connection) noexcept {
    std::array<char, kMaxGreeting> text;
    const ssize_t seen = ::recv(connection.stream.get(), text.data(), text.size(), MSG_PEEK | MSG_DONTWAIT);
    if (seen < 0 && (errno == EAGAIN || errno == EINTR)) {
        connection.readable = errno == EINTR;
        return;
    }
    const std::string_view all{text.data(), seen > 0 ? static_cast<std::size_t>(seen) : 0};
    const std::size_t end = all.find('\n');
    if (end == std::string_view::npos && seen > 0 && all.size() < text.size()) {
        connection.readable = false;  // the rest of the line is to come
        return;
    }
    const auto port = end == std::string_view::npos ? std::nullopt : parse_greeting(all.substr(0, end));
    if (!port) {
        log::warn("vsock.client", {{"why", seen > 0 ? "no CONNECT line" : "left before CONNECT"}});
        connection.state = Connection::State::Dead;
        return;
    }
    [[maybe_unused]] const ssize_t taken =
        ::recv(connection.stream.get(), text.data(), end + 1, MSG_DONTWAIT);
    connection.ports = {.guest = *port, .host = next_host_port()};
    connection.state = Connection::State::AwaitingGuest;
    connection.owes_request = true;
}

std::uint32_t Vsock::next_host_port() noexcept {
    // Above 2^30, where no service listens; at most kMaxConnections of them are taken.
    do {
        last_host_port_ = (last_host_port_ + 1) | 0x40000000;
        if (last_host_port_ == 0xffffffff) last_host_port_ = 0x40000000;
    } while (std::ranges::any_of(
        connections_, [&](const auto& connection) { return connection->ports.host == last_host_port_; }));
    return last_host_port_;
}

// Everything a connection can do without a Receive job.
void Vsock::serve(Connection& connection, Clock::time_point now) noexcept {
    using State = Connection::State;
    if (connection.state == State::Greeting && connection.readable) greet(connection);
    if (connection.deadline && now >= *connection.deadline) {
        connection.deadline.reset();
        if (connection.state == State::Greeting) {
            log::warn("vsock.client", {{"why", "said nothing"}});
            connection.state = State::Dead;
        } else if (!connection.owes_reset) {
            log::warn("vsock.timeout", {{"guest_port", connection.ports.guest}});
            // A guest that never answers anything is not told either.
            abort(connection);
        }
    }
    if (connection.state != State::Open || connection.owes_reset) return;

    if (!connection.waiting.empty() && connection.writable) {
        const ssize_t put = ::send(connection.stream.get(), connection.waiting.data(),
                                   connection.waiting.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put > 0) {
            connection.forwarded += static_cast<std::uint32_t>(put);
            connection.waiting.erase(connection.waiting.begin(), connection.waiting.begin() + put);
        } else if (errno == EAGAIN) {
            connection.writable = false;
        } else if (errno != EINTR) {
            connection.hung_up = true;
        }
    }
    if (connection.hung_up) {
        connection.readable = true;  // what it wrote before it went
        connection.waiting = {};
        connection.forwarded = connection.received;
        if (connection.our_shutdown == vsock::SHUTDOWN_F_SEND) {
            connection.our_shutdown = kBothWays;
            connection.deadline = now + kPatience;
        }
    }
    if (connection.forwarded - connection.forwarded_told >= kBufAlloc / 2) connection.owes_credit = true;
    if (connection.may_read() && connection.credit() == 0 && !connection.credit_asked) {
        connection.wants_credit = connection.credit_asked = true;
    }
    if (connection.waiting.empty()) {
        connection.waiting.shrink_to_fit();
        if ((connection.guest_shutdown & vsock::SHUTDOWN_F_SEND) != 0 && !connection.write_shut) {
            connection.write_shut = true;
            ::shutdown(connection.stream.get(), SHUT_WR);
        }
        // §5.10.6.6: the answer to a complete shutdown is RST.
        if (connection.guest_shutdown == kBothWays) abort(connection);
    }
}

// One packet for the guest out of `connection`, which has one; its size, or 0 when the host's
// program had nothing after all.
std::uint32_t Vsock::next_packet(Connection& connection, std::span<std::byte> out) noexcept {
    using State = Connection::State;
    std::uint16_t op = vsock::OP_INVALID;
    std::uint32_t size = 0;
    std::uint32_t flags = 0;
    if (connection.owes_reset) {
        op = vsock::OP_RST;
        connection.state = State::Dead;
    } else if (std::exchange(connection.owes_request, false)) {
        op = vsock::OP_REQUEST;
    } else if (std::exchange(connection.owes_response, false)) {
        op = vsock::OP_RESPONSE;
        connection.deadline.reset();
    } else if (std::exchange(connection.owes_credit, false)) {
        op = vsock::OP_CREDIT_UPDATE;
    } else if (std::exchange(connection.wants_credit, false)) {
        op = vsock::OP_CREDIT_REQUEST;
    } else if (connection.our_shutdown != connection.shutdown_told) {
        op = vsock::OP_SHUTDOWN;
        flags = connection.shutdown_told = connection.our_shutdown;
    } else {
        const auto room = out.subspan(sizeof(VsockPacket));
        const std::size_t wanted = std::min<std::size_t>(room.size(), connection.credit());
        const ssize_t got = ::recv(connection.stream.get(), room.data(), wanted, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) return 0;
        if (got < 0 && errno == EAGAIN && !connection.hung_up) {
            connection.readable = false;
            return 0;
        }
        if (got <= 0) {  // with hung_up nothing more can come, whatever the error says
            connection.our_shutdown = connection.hung_up || got < 0 ? kBothWays : vsock::SHUTDOWN_F_SEND;
            if (connection.our_shutdown == kBothWays) connection.deadline = Clock::now() + kPatience;
            return 0;
        }
        op = vsock::OP_RW;
        size = static_cast<std::uint32_t>(got);
        connection.sent += size;
    }
    connection.forwarded_told = connection.forwarded;
    const VsockPacket header{.src_port = connection.ports.host,
                             .dst_port = connection.ports.guest,
                             .len = size,
                             .flags = flags,
                             .buf_alloc = kBufAlloc,
                             .fwd_cnt = connection.forwarded,
                             .op = op,
                             .type = vsock::TYPE_STREAM,
                             .reserved = 0U};
    std::memcpy(out.data(), &header, sizeof header);
    return static_cast<std::uint32_t>(sizeof header) + size;
}

// True when a packet was put into the job's slot.
bool Vsock::fill_one(const Job& job) noexcept {
    if (!refusals_.empty()) {
        const Ports ports = refusals_.front();
        refusals_.pop_front();
        const VsockPacket header{.src_port = ports.host,
                                 .dst_port = ports.guest,
                                 .len = 0U,
                                 .flags = 0U,
                                 .buf_alloc = 0U,
                                 .fwd_cnt = 0U,
                                 .op = vsock::OP_RST,
                                 .type = vsock::TYPE_STREAM,
                                 .reserved = 0U};
        std::memcpy(job.bytes.data(), &header, sizeof header);
        ring_.complete(job, Status::Ok, sizeof header);
        return true;
    }
    for (std::size_t i = 0; i < connections_.size(); ++i) {
        turn_of_ = (turn_of_ + 1) % connections_.size();
        Connection& connection = *connections_[turn_of_];
        if (connection.state == Connection::State::Dead || !connection.has_packet()) continue;
        const std::uint32_t size = next_packet(connection, job.bytes);
        if (size == 0) {
            dirty_ = true;
            continue;
        }
        ring_.complete(job, Status::Ok, size);
        return true;
    }
    return false;
}

bool Vsock::turn(Clock::time_point now) noexcept {
    if (!dirty_ && !(deadline_ && now >= *deadline_)) return false;
    dirty_ = false;
    accept_clients(now);
    for (const auto& connection : connections_) serve(*connection, now);
    int packets = 0;
    while (packets < kPacketsATurn && !receiving_.empty() && fill_one(receiving_.back())) {
        receiving_.pop_back();
        ++packets;
    }
    if (packets != 0) dirty_ = true;
    const std::size_t removed = std::erase_if(
        connections_, [](const auto& connection) { return connection->state == Connection::State::Dead; });
    if (removed != 0) dirty_ = true;  // room for clients that wait in the listener's queue
    deadline_.reset();
    for (const auto& connection : connections_) {
        if (connection->deadline && (!deadline_ || *connection->deadline < *deadline_)) {
            deadline_ = connection->deadline;
        }
    }
    return dirty_;
}

}  // namespace holdfast::io
