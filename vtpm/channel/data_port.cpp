// SPDX-License-Identifier: Apache-2.0
#include "vtpm/channel/data_port.hpp"

#include <cerrno>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>

#include "vtpm/engine/command.hpp"

namespace holdfast::vtpm::channel {
namespace {

// How long the rest of a command may take to arrive. A guest that lies about its command's length makes
// QEMU send less than the head says, so this ends in an answer and not in a lost client.
constexpr int kRestMs = 2000;
constexpr int kForever = -1;
// When a guest counts as pausing.
constexpr int kIdleMs = 50;

}  // namespace

Result<std::unique_ptr<DataPort>> DataPort::create(UniqueFd socket, Service& service, const EventFd& ended) {
    std::unique_ptr<DataPort> port{new DataPort{std::move(socket), service, HF_TRY(EventFd::create())}};
    port->thread_ = named_thread("tpm", [self = port.get(), &ended] {
        self->outcome_ = self->serve();
        self->ended_.store(true, std::memory_order_release);
        ended.signal();
    });
    return port;
}

DataPort::~DataPort() {
    stop_.signal();
    service_.cancel();
}

DataPort::Wait DataPort::wait(int timeout_ms) const {
    std::array<pollfd, 2> polls{pollfd{.fd = socket_.get(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = stop_.fd().get(), .events = POLLIN, .revents = 0}};
    while (true) {
        const int ready = ::poll(polls.data(), polls.size(), timeout_ms);
        if (ready < 0 && errno == EINTR) continue;
        if (polls[1].revents != 0 || ready < 0) return Wait::Stop;
        return ready == 0 ? Wait::Late : Wait::Bytes;
    }
}

/// False: the client has hung up.
Result<bool> DataPort::receive() {
    const auto room = std::span{buffer_}.subspan(filled_);
    const ssize_t n = ::recv(socket_.get(), room.data(), room.size(), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (n < 0 && errno != ECONNRESET) return Error{Fault::Peer, errno, "receive a TPM command"};
    if (n <= 0) return false;
    filled_ += static_cast<std::size_t>(n);
    return true;
}

Result<void> DataPort::serve() {
    while (true) {
        const int pause_ms = service_.wants_idle() ? kIdleMs : kForever;
        switch (wait(filled_ == 0 ? pause_ms : kRestMs)) {
            case Wait::Stop: return {};
            case Wait::Late: HF_TRY(filled_ == 0 ? service_.idle() : refuse_all()); continue;
            case Wait::Bytes: break;
        }
        if (!HF_TRY(receive())) return {};
        HF_TRY(answer_one());
    }
}

// At most one: who sends several without reading is served in turn, as fast as the answers are taken.
Result<void> DataPort::answer_one() {
    if (filled_ < kHeadBytes) return {};
    const std::uint32_t size = head_of(buffer_).size;
    if (size < kHeadBytes || size > buffer_.size()) return refuse_all();
    if (filled_ < size) return {};
    HF_TRY(service_.run_command(socket_, std::span{buffer_}.first(size)));
    filled_ -= size;
    std::memmove(buffer_.data(), buffer_.data() + size, filled_);
    return {};
}

/// Where the next command would begin is unknown: everything that is there belongs to this one.
Result<void> DataPort::refuse_all() {
    filled_ = 0;
    return service_.refuse_command(socket_, tpm::RC_COMMAND_SIZE);
}

}  // namespace holdfast::vtpm::channel
