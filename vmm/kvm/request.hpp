// SPDX-License-Identifier: Apache-2.0
// One way to make a KVM ioctl, and its error names what was asked.
#pragma once

#include <array>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <type_traits>

#include <sys/ioctl.h>

#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "vmm/kvm/uapi.hpp"

namespace holdfast::kvm {

struct Request {
    unsigned long number;
    const char* name;
};

/// For requests that are safe to repeat. KVM_RUN is not one: there EINTR is the kick that stops the
/// vCPU. No int overload: a 32-bit vararg leaves the upper half of the kernel's long undefined.
template <typename Arg>
    requires std::is_pointer_v<Arg> || std::same_as<Arg, unsigned long>
[[nodiscard]] Result<int> ioctl_retry(const UniqueFd& fd, Request request, Arg arg) {
    int rc = -1;
    do {
        rc = ::ioctl(fd.get(), request.number, arg);
    } while (rc < 0 && errno == EINTR);
    if (rc < 0) return Error{Fault::Os, errno, request.name};
    return rc;
}

/// Room for one of KVM's "count, then entries" structures.
template <typename Entry, std::size_t Count>
struct CountedList {
    CountHeader header{};
    std::array<Entry, Count> entries{};
};

}  // namespace holdfast::kvm

/// A Request from the kernel's own name, so that number and text cannot differ.
#define HF_KVM_REQUEST(name) (::holdfast::kvm::Request{name, #name})
