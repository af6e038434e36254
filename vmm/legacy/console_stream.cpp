// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/console_stream.hpp"

#include <algorithm>
#include <cerrno>

#include <poll.h>
#include <sys/socket.h>

#include "sys/log.hpp"

namespace holdfast::legacy {
namespace {

constexpr std::size_t kInputChunk = 256;

bool would_block(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

Result<std::unique_ptr<ConsoleStream>> ConsoleStream::create(UniqueFd socket, Poller& poller,
                                                             std::uint64_t token) {
    HF_TRY(set_nonblocking(socket));
    HF_TRY(poller.add(socket, 0, token));
    return std::unique_ptr<ConsoleStream>{new ConsoleStream{std::move(socket), poller, token}};
}

ConsoleStream::ConsoleStream(UniqueFd socket, Poller& poller, std::uint64_t token)
    : socket_{std::move(socket)},
      poller_{poller},
      token_{token},
      buffer_{std::make_unique_for_overwrite<Buffer>()} {}

ConsoleStream::~ConsoleStream() { give_up(); }

void ConsoleStream::attach(ConsoleDevice& device) {
    device_ = &device;
    input_room();
}

std::size_t ConsoleStream::write(std::span<const std::byte> bytes) noexcept {
    // Held while sending, which cannot block, so that bytes of two vCPUs do not overtake the buffer.
    Lock hold{lock_};
    if (over_) return bytes.size();
    const std::size_t sent = count_ == 0 ? send(bytes) : 0;
    const std::size_t kept = std::min(bytes.size() - sent, kConsoleBuffer - count_);
    keep(bytes.subspan(sent, kept));
    return sent + kept;
}

void ConsoleStream::input_room() noexcept {
    Lock hold{lock_};
    wants_input_ = true;
    watch();
}

Result<void> ConsoleStream::on_ready(std::uint32_t events) {
    if ((events & EPOLLOUT) != 0) {
        bool again = false;
        {
            Lock hold{lock_};
            again = flush();
        }
        if (again && device_ != nullptr) device_->output_ready();
    }
    Result<void> result{};
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        result = peer_fault("console stream closed");
    } else if ((events & EPOLLIN) != 0) {
        result = read_input();
    }
    if (!result) {
        give_up();
        if (device_ != nullptr) device_->output_ready();  // a driver that waits must not wait forever
    }
    return result;
}

/// Bytes stay in the socket until the device has taken them, so nothing is held here.
Result<void> ConsoleStream::read_input() {
    std::array<std::byte, kInputChunk> chunk{};
    const ssize_t got = ::recv(socket_.get(), chunk.data(), chunk.size(), MSG_PEEK | MSG_DONTWAIT);
    if (got == 0) return peer_fault("console stream closed");
    if (got < 0) {
        if (would_block(errno)) return {};
        return os_error("read console stream");
    }
    if (device_ == nullptr) return {};
    const auto offered = static_cast<std::size_t>(got);
    {
        // Before offering: the device may say that it has room before receive() has come back.
        Lock hold{lock_};
        wants_input_ = false;
    }
    const std::size_t taken = device_->receive(std::span{chunk}.first(offered));
    if (taken > 0 && ::recv(socket_.get(), chunk.data(), taken, MSG_DONTWAIT) < 0) {
        return os_error("take console input");
    }
    Lock hold{lock_};
    if (taken == offered) wants_input_ = true;
    watch();
    return {};
}

bool ConsoleStream::drain(std::chrono::milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    for (;;) {
        {
            Lock hold{lock_};
            if (!over_) flush();
            if (over_ || count_ == 0) return count_ == 0;
        }
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return false;
        pollfd wait{.fd = socket_.get(), .events = POLLOUT, .revents = 0};
        if (::poll(&wait, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) return false;
        if ((wait.revents & (POLLHUP | POLLERR)) != 0) return false;
    }
}

std::size_t ConsoleStream::send(std::span<const std::byte> bytes) noexcept {
    if (bytes.empty()) return 0;
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent >= 0) return static_cast<std::size_t>(sent);
    // A peer that is gone is found by the main loop (EPOLLHUP); its bytes are nobody's.
    return would_block(errno) ? 0 : bytes.size();
}

void ConsoleStream::keep(std::span<const std::byte> bytes) noexcept {
    if (bytes.empty()) return;
    const std::size_t tail = (head_ + count_) % kConsoleBuffer;
    const std::size_t first = std::min(bytes.size(), kConsoleBuffer - tail);
    std::ranges::copy(bytes.first(first), buffer_->begin() + static_cast<std::ptrdiff_t>(tail));
    std::ranges::copy(bytes.subspan(first), buffer_->begin());
    count_ += bytes.size();
    if (kConsoleBuffer - count_ < kConsoleBurst) ready_ = false;
    watch();
}

bool ConsoleStream::flush() noexcept {
    while (count_ > 0) {
        const std::size_t run = std::min(count_, kConsoleBuffer - head_);
        const std::size_t sent = send(std::span{*buffer_}.subspan(head_, run));
        if (sent == 0) break;
        head_ = (head_ + sent) % kConsoleBuffer;
        count_ -= sent;
    }
    watch();
    // Half empty before the guest hears of it, so that a stalled reader costs few interrupts.
    if (ready_ || count_ > kConsoleBuffer / 2) return false;
    ready_ = true;
    return true;
}

/// Keeps the poller's idea of us in step.
void ConsoleStream::watch() noexcept {
    if (over_) return;
    const std::uint32_t events = (wants_input_ ? EPOLLIN : 0U) | (count_ > 0 ? EPOLLOUT : 0U);
    if (events == watched_) return;
    watched_ = events;
    if (auto changed = poller_.change(socket_, events, token_); !changed) {
        log::error("console.watch", changed.error());
    }
}

void ConsoleStream::give_up() noexcept {
    Lock hold{lock_};
    if (over_) return;
    over_ = true;
    count_ = 0;
    ready_ = true;
    if (auto removed = poller_.remove(socket_); !removed) log::error("console.unwatch", removed.error());
}

}  // namespace holdfast::legacy
