// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/coprocess.hpp"

#include <array>
#include <cerrno>

#include <poll.h>
#include <unistd.h>

#include "sys/pipe.hpp"

namespace holdfast::agent {

Result<Coprocess> Coprocess::start(const std::vector<std::string>& words) {
    Pipe heard = HF_TRY(make_pipe());
    Pipe said = HF_TRY(make_pipe());
    Child child = HF_TRY(Child::start(words.front(), {words.begin() + 1, words.end()}, UniqueFd{},
                                      {.in = heard.reading.get(), .out = said.writing.get()}));
    HF_TRY(set_nonblocking(heard.writing));
    HF_TRY(set_nonblocking(said.reading));
    return Coprocess{std::move(child), std::move(heard.writing), std::move(said.reading)};
}

Result<std::vector<std::string>> Coprocess::turn(int wait_ms) {
    std::array ends{pollfd{.fd = said_.get(), .events = POLLIN, .revents = 0},
                    pollfd{.fd = hears() ? -1 : heard_.get(), .events = POLLOUT, .revents = 0}};
    if (::poll(ends.data(), ends.size(), wait_ms) < 0 && errno != EINTR) return os_error("poll");
    if (ends[1].revents != 0) HF_TRY(hear_some());
    if (ends[0].revents != 0) HF_TRY(say_some());
    std::vector<std::string> lines;
    for (std::size_t end = 0; (end = line_.find('\n')) != std::string::npos;) {
        lines.push_back(line_.substr(0, end));
        line_.erase(0, end + 1);
    }
    if (line_.size() > kMaxLine) return input_error("the program says a line that is too long");
    return lines;
}

Result<void> Coprocess::hear_some() {
    const ssize_t wrote = ::write(heard_.get(), unheard_.data(), unheard_.size());
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    // It may have closed its input and still have something to say.
    unheard_.erase(0, wrote < 0 ? unheard_.size() : static_cast<std::size_t>(wrote));
    return {};
}

Result<void> Coprocess::say_some() {
    std::array<char, 4096> bytes{};
    const ssize_t got = ::read(said_.get(), bytes.data(), bytes.size());
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
    if (got < 0) return os_error("read what the program says");
    if (got == 0) said_.reset();
    line_.append(bytes.data(), static_cast<std::size_t>(got));
    return {};
}

}  // namespace holdfast::agent
