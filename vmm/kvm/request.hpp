// SPDX-License-Identifier: Apache-2.0
// One way to make a KVM ioctl, and its error names what was asked.
#pragma once

#include <array>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <span>
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

/// Room for one of KVM's "count, then entries" structures: `Header` ends in a flexible array of `Entry`.
template <typename Header, typename Entry, std::size_t Count>
class CountedList {
public:
    [[nodiscard]] Header* header() noexcept {
        // SAFETY: aligned storage large enough for the header and Count entries, zeroed.
        return reinterpret_cast<Header*>(bytes_.data());
    }
    [[nodiscard]] std::span<Entry, Count> entries() noexcept {
        return std::span<Entry, Count>{header()->entries, Count};
    }

private:
    alignas(Header) std::array<std::byte, sizeof(Header) + Count * sizeof(Entry)> bytes_{};
};

}  // namespace holdfast::kvm

/// A Request from the kernel's own name, so that number and text cannot differ.
#define HF_KVM_REQUEST(name) (::holdfast::kvm::Request{name, #name})
