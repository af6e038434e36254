// SPDX-License-Identifier: Apache-2.0
#include "sys/eventfd.hpp"

#include <cstdint>

#include <sys/eventfd.h>
#include <unistd.h>

namespace holdfast {

Result<EventFd> EventFd::create() {
    UniqueFd fd{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (!fd) return os_error("eventfd");
    return EventFd{std::move(fd)};
}

void EventFd::signal() const noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t put = ::write(fd_.get(), &one, sizeof one);
}

bool EventFd::drain() const noexcept {
    std::uint64_t count = 0;
    return ::read(fd_.get(), &count, sizeof count) == sizeof count;
}

}  // namespace holdfast
