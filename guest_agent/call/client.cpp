// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/client.hpp"

#include <array>
#include <cerrno>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guest_agent/call/services.hpp"

namespace holdfast::agent::call {
namespace {

using Clock = std::chrono::steady_clock;

Result<void> wait_for(const UniqueFd& fd, short events, Clock::time_point until) {
    for (;;) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
        pollfd entry{.fd = fd.get(), .events = events, .revents = 0};
        const int ready = left <= 0 ? 0 : ::poll(&entry, 1, static_cast<int>(std::min<long>(left, 60'000)));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return os_error("poll");
        if (Clock::now() >= until) return Error{Fault::Os, ETIMEDOUT, "wait for the other side of a call"};
    }
}

Result<void> send_all(const UniqueFd& fd, Bytes bytes, Clock::time_point until) {
    while (!bytes.empty()) {
        const ssize_t sent = ::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(sent));
        } else if (errno == EAGAIN) {
            HF_TRY(wait_for(fd, POLLOUT, until));
        } else if (errno != EINTR) {
            return os_error("send a call");
        }
    }
    return {};
}

}  // namespace

const char* refusal_words(std::uint16_t code) noexcept {
    switch (code) {
        case refusal::kUnknownMethod: return "the other side does not know this call";
        case refusal::kMalformed: return "the other side finds this call malformed";
        case refusal::kNotFound: return "there is nothing of this name";
        case refusal::kNoRoom: return "the other side has no room for it";
        case refusal::kNotAllowed: return "the other side does not allow it";
        case refusal::kFailed: return "the other side tried, and failed";
        default: return "the other side refuses, and does not say why";
    }
}

Result<Frame> Client::read_frame(Clock::time_point until) {
    for (;;) {
        Bytes input = rest_;
        auto frame = reader_.take(input);
        rest_.erase(rest_.begin(), rest_.end() - static_cast<std::ptrdiff_t>(input.size()));
        if (!frame) return frame.error();
        if (*frame) return std::move(**frame);
        HF_TRY(wait_for(stream_, POLLIN, until));
        std::array<std::byte, 16384> buffer;
        const ssize_t got = ::recv(stream_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (got < 0) return os_error("receive an answer");
        if (got == 0) return peer_fault("the other side of a call has closed");
        rest_.insert(rest_.end(), buffer.begin(), buffer.begin() + got);
    }
}

Result<SecretBuffer> Client::call(std::uint16_t service, std::uint16_t method, Bytes body,
                                  std::chrono::milliseconds patience) {
    const auto until = Clock::now() + patience;
    const auto sent = HF_TRY(endpoint_.request(service, method, body));
    HF_TRY(send_all(stream_, sent.bytes, until));
    Frame frame = HF_TRY(read_frame(until));
    auto incoming = HF_TRY(endpoint_.receive(std::move(frame)));
    if (auto* const reply = std::get_if<Reply>(&incoming)) return std::move(reply->body);
    if (const auto* const refused = std::get_if<Refusal>(&incoming))
        return Error{Fault::Input, refused->code == refusal::kNotFound ? ENOENT : 0,
                     refusal_words(refused->code)};
    return peer_fault("a question instead of an answer");
}

}  // namespace holdfast::agent::call
