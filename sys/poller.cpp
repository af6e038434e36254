// SPDX-License-Identifier: Apache-2.0
#include "sys/poller.hpp"

#include <cerrno>

namespace holdfast {

Result<Poller> Poller::create() {
    UniqueFd fd{::epoll_create1(EPOLL_CLOEXEC)};
    if (!fd) return os_error("epoll_create1");
    return Poller{std::move(fd)};
}

Result<void> Poller::control(int operation, const UniqueFd& fd, std::uint32_t events, std::uint64_t token) {
    epoll_event event{};
    event.events = events;
    event.data.u64 = token;
    if (::epoll_ctl(fd_.get(), operation, fd.get(), &event) < 0) return os_error("epoll_ctl");
    return {};
}

Result<void> Poller::add(const UniqueFd& fd, std::uint32_t events, std::uint64_t token) {
    return control(EPOLL_CTL_ADD, fd, events, token);
}

Result<void> Poller::change(const UniqueFd& fd, std::uint32_t events, std::uint64_t token) {
    return control(EPOLL_CTL_MOD, fd, events, token);
}

Result<void> Poller::remove(const UniqueFd& fd) { return control(EPOLL_CTL_DEL, fd, 0, 0); }

Result<std::span<epoll_event>> Poller::wait(std::span<epoll_event> out, int timeout_ms) const {
    const int count = ::epoll_wait(fd_.get(), out.data(), static_cast<int>(out.size()), timeout_ms);
    if (count < 0 && errno != EINTR) return os_error("epoll_wait");
    return out.first(count < 0 ? 0 : static_cast<std::size_t>(count));
}

}  // namespace holdfast
