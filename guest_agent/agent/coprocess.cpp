// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/coprocess.hpp"

#include <array>
#include <cerrno>

#include <poll.h>
#include <unistd.h>

#include "sys/pipe.hpp"

namespace holdfast::agent {
namespace {

constexpr std::size_t kPiece = 16U << 10;

}  // namespace

Result<Coprocess> Coprocess::start(const std::vector<std::string>& words) {
    Pipe heard = HF_TRY(make_pipe());
    Pipe said = HF_TRY(make_pipe());
    Child child = HF_TRY(Child::start(words.front(), {words.begin() + 1, words.end()}, UniqueFd{},
                                      {.in = heard.reading.get(), .out = said.writing.get()}));
    HF_TRY(set_nonblocking(heard.writing));
    HF_TRY(set_nonblocking(said.reading));
    return Coprocess{std::move(child), std::move(heard.writing), std::move(said.reading)};
}

Result<std::string> Coprocess::turn(int wait_ms, bool may_say, const UniqueFd* wakes) {
    std::array ends{pollfd{.fd = may_say ? said_.get() : -1, .events = POLLIN, .revents = 0},
                    pollfd{.fd = unheard_.empty() ? -1 : heard_.get(), .events = POLLOUT, .revents = 0},
                    pollfd{.fd = wakes ? wakes->get() : -1, .events = POLLIN, .revents = 0}};
    if (::poll(ends.data(), ends.size(), wait_ms) < 0 && errno != EINTR) return os_error("poll");
    if (ends[1].revents != 0) HF_TRY(hear_some());
    if (unheard_.empty() && is_all_queued_) heard_.reset();
    return ends[0].revents != 0 ? say_some() : std::string{};
}

void Coprocess::queue(Bytes bytes) {
    for (const std::byte byte : bytes) unheard_ += static_cast<char>(byte);
}

Result<void> Coprocess::hear_some() {
    const ssize_t wrote = ::write(heard_.get(), unheard_.data(), unheard_.size());
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    // It may have closed its input and still have something to say.
    unheard_.erase(0, wrote < 0 ? unheard_.size() : static_cast<std::size_t>(wrote));
    return {};
}

Result<std::string> Coprocess::say_some() {
    std::string bytes(kPiece, '\0');
    const ssize_t got = ::read(said_.get(), bytes.data(), bytes.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return std::string{};
    if (got < 0) return os_error("read what the program says");
    if (got == 0) said_.reset();
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
}

}  // namespace holdfast::agent
