// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/console.hpp"

#include <algorithm>
#include <array>
#include <cerrno>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {
// §5.3.2: queues of port 0.
constexpr std::size_t kReceive = 0;
constexpr std::size_t kTransmit = 1;
constexpr std::array<std::uint16_t, 2> kQueues{64, 64};
constexpr std::size_t kPiece = 4096;
constexpr int kPiecesPerRun = 16;
}  // namespace

Description Console::describe() const noexcept {
    return {.name = "virtio-console", .type = spec::TYPE_CONSOLE, .pci_class = 0x078000, .queues = kQueues};
}

void Console::stop() noexcept {
    queues_ = {};
    wants_input_ = has_output_ = false;
}

Device::Watch Console::watch() noexcept {
    std::uint32_t events = 0;
    if (open_ && wants_input_) events |= EPOLLIN;
    if (open_ && has_output_) events |= EPOLLOUT;
    return {&stream_, events};
}

Result<void> Console::run() noexcept {
    if (queues_.empty()) return {};
    HF_TRY(run_input());
    return run_output();
}

Result<void> Console::run_input() {
    Queue& queue = queues_[kReceive];
    Chain chain;
    for (int budget = kPiecesPerRun; open_ && budget > 0 && HF_TRY(queue.has_chain()); --budget) {
        // Only read what has a place: a peek tells whether there is anything, before a chain is
        // taken.
        std::array<std::byte, kPiece> bytes;
        const ssize_t peeked = ::recv(stream_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_PEEK);
        if (peeked < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (peeked <= 0) {
            open_ = false;
            break;
        }
        if (!HF_TRY(queue.pop(chain))) break;
        const auto size = std::min<std::uint64_t>(static_cast<std::uint64_t>(peeked), chain.writable_bytes());
        const auto input = std::span{bytes}.first(size);
        HF_TRY(scatter(memory_, chain.writable(), 0, input));
        // Takes exactly what was peeked: this socket has no other reader.
        if (size > 0) static_cast<void>(::recv(stream_.get(), bytes.data(), size, MSG_DONTWAIT));
        queue.push(chain.head(), static_cast<std::uint32_t>(size));
    }
    wants_input_ = HF_TRY(queue.has_chain());
    // A chain brings nothing while there is no input; its absence is what we must hear the end of.
    queue.set_wanted(!wants_input_);
    return {};
}

Result<bool> Console::send_chain() {
    for (int budget = kPiecesPerRun; sent_ < output_.readable_bytes(); --budget) {
        if (!open_) return true;
        if (budget == 0) return false;  // EPOLLOUT brings the rest: a chain may be as large as RAM
        std::array<std::byte, kPiece> bytes;
        const auto piece =
            std::span{bytes}.first(std::min<std::uint64_t>(kPiece, output_.readable_bytes() - sent_));
        HF_TRY(gather(memory_, output_.readable(), sent_, piece));
        const ssize_t put = ::send(stream_.get(), piece.data(), piece.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (put < 0 && (errno == EAGAIN || errno == EINTR)) return false;
        if (put < 0) {
            open_ = false;
            return true;
        }
        sent_ += static_cast<std::uint64_t>(put);
    }
    return true;
}

Result<void> Console::run_output() {
    Queue& queue = queues_[kTransmit];
    for (int budget = kChainsPerRun; budget > 0; --budget) {
        if (!has_output_) {
            if (!HF_TRY(queue.pop(output_))) break;
            has_output_ = true;
            sent_ = 0;
        }
        if (!HF_TRY(send_chain())) break;
        has_output_ = false;
        queue.push(output_.head(), 0);
    }
    queue.set_wanted(!has_output_);
    return {};
}

}  // namespace holdfast::virtio
