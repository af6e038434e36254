// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/net.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "sys/log.hpp"

namespace holdfast::io {
namespace {

constexpr int kFramesATurn = 64;
constexpr std::size_t kTapHeader = 10;

bool would_block(int error) noexcept { return error == EAGAIN || error == EINTR; }

}  // namespace

Net::Net(UniqueFd fd, NetKind kind, RequestRing& ring) noexcept
    : fd_{std::move(fd)}, kind_{kind}, ring_{ring} {
    if (kind_ == NetKind::Passt) decoder_.emplace();
}

Result<Net> Net::create(UniqueFd fd, NetKind kind, RequestRing& ring) {
    HF_TRY(set_nonblocking(fd));
    return Net{std::move(fd), kind, ring};
}

void Net::start(const Job& job) noexcept {
    switch (job.op) {
        case Op::Send:
            if (job.length < kMinFrame || job.length > kMaxFrame || gone_) {
                ring_.complete(job, Status::Ok);
            } else if (!sending_.empty() || !send_frame(job)) {
                sending_.push_back(job);
            }
            return;
        case Op::Receive: receiving_.push_back(job); return;
        case Op::Read:
        case Op::Write:
        case Op::Flush:
        case Op::Discard:
        case Op::WriteZeroes: ring_.complete(job, Status::Unsupported); return;
    }
}

void Net::event(std::uint32_t events) noexcept {
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable_ = true;
}

bool Net::turn() noexcept {
    const bool sent = send_waiting();
    const bool received = receive_waiting();
    return sent || received;
}

bool Net::send_waiting() noexcept {
    if (!writable_ && !gone_) return false;
    bool any = false;
    for (int i = 0; i < kFramesATurn && !sending_.empty(); ++i) {
        if (!send_frame(sending_.front())) break;
        sending_.pop_front();
        any = true;
    }
    return any;
}

// Completes the job when the frame is sent or dropped; false: the socket is full, try again later.
bool Net::send_frame(const Job& job) noexcept {
    if (!gone_) {
        if (!writable_) return false;
        const bool finished = kind_ == NetKind::Passt ? write_passt(job.bytes) : write_tap(job.bytes);
        if (!finished) return false;
    }
    ring_.complete(job, Status::Ok);
    return true;
}

bool Net::write_tap(std::span<const std::byte> frame) noexcept {
    // A tap that is down (EIO) or full drops the frame, as a network may.
    if (kind_ == NetKind::TapWithHeader) {
        std::array<std::byte, kTapHeader> header{};
        const std::array<iovec, 2> parts{iovec{header.data(), header.size()},
                                         iovec{const_cast<std::byte*>(frame.data()), frame.size()}};
        [[maybe_unused]] const ssize_t put = ::writev(fd_.get(), parts.data(), 2);
        return true;
    }
    [[maybe_unused]] const ssize_t put = ::write(fd_.get(), frame.data(), frame.size());
    return true;
}

bool Net::write_passt(std::span<const std::byte> frame) noexcept {
    FrameLength length{static_cast<std::uint32_t>(frame.size())};
    const std::size_t total = sizeof length + frame.size();
    while (sent_ < total) {
        std::array<iovec, 2> parts{};
        msghdr message{};
        message.msg_iov = parts.data();
        message.msg_iovlen = 0;
        if (sent_ < sizeof length) {
            parts[message.msg_iovlen++] = {reinterpret_cast<std::byte*>(&length) + sent_,
                                           sizeof length - sent_};
        }
        const std::size_t from = sent_ > sizeof length ? sent_ - sizeof length : 0;
        parts[message.msg_iovlen++] = {const_cast<std::byte*>(frame.data()) + from, frame.size() - from};
        const ssize_t put = ::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0 && errno == EAGAIN) {
            writable_ = false;
            return false;
        }
        if (put < 0) {
            lost(os_error("send to passt"));
            break;
        }
        sent_ += static_cast<std::size_t>(put);
    }
    sent_ = 0;
    return true;
}

bool Net::receive_waiting() noexcept {
    if (gone_ || !readable_) return false;
    bool any = false;
    for (int i = 0; i < kFramesATurn && !receiving_.empty() && readable_; ++i) {
        const Job job = receiving_.back();
        const auto size = receive_frame(job.bytes);
        if (!size) break;
        receiving_.pop_back();
        ring_.complete(job, Status::Ok, *size);
        any = true;
    }
    return any;
}

std::optional<std::uint32_t> Net::receive_frame(std::span<std::byte> out) noexcept {
    if (kind_ == NetKind::Passt) return read_passt(out);
    const ssize_t got = read_tap(out);
    if (got > 0) return static_cast<std::uint32_t>(got);
    readable_ = false;
    if (got < 0 && !would_block(errno)) log::warn("net.tap", os_error("read tap"));
    return std::nullopt;
}

// Without the header.
ssize_t Net::read_tap(std::span<std::byte> out) noexcept {
    if (kind_ != NetKind::TapWithHeader) return ::read(fd_.get(), out.data(), out.size());
    std::array<std::byte, kTapHeader> header;
    const std::array<iovec, 2> parts{iovec{header.data(), header.size()}, iovec{out.data(), out.size()}};
    const ssize_t got = ::readv(fd_.get(), parts.data(), 2);
    return got < static_cast<ssize_t>(kTapHeader) ? std::min<ssize_t>(got, 0)
                                                  : got - static_cast<ssize_t>(kTapHeader);
}

std::optional<std::uint32_t> Net::read_passt(std::span<std::byte> out) noexcept {
    // At most one read a frame in the worst case; each read brings at least a byte.
    for (;;) {
        const auto frame = decoder_->next();
        if (!frame) {
            lost(frame.error());
            return std::nullopt;
        }
        if (*frame) {
            const std::size_t size = std::min(out.size(), (*frame)->size());
            std::memcpy(out.data(), (*frame)->data(), size);
            return static_cast<std::uint32_t>(size);
        }
        const auto room = decoder_->room();
        const ssize_t got = ::recv(fd_.get(), room.data(), room.size(), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR) continue;
        if (got > 0) {
            decoder_->filled(static_cast<std::size_t>(got));
            continue;
        }
        readable_ = false;
        if (got == 0) lost(peer_fault("passt has closed the connection"));
        else if (errno != EAGAIN) lost(os_error("receive from passt"));
        return std::nullopt;
    }
}

// The guest keeps a network on which nothing moves; the VM goes on.
void Net::lost(const Error& error) noexcept {
    if (gone_) return;
    log::error("net.lost", error);
    gone_ = true;
    readable_ = false;
    ::shutdown(fd_.get(), SHUT_RDWR);
}

}  // namespace holdfast::io
