// SPDX-License-Identifier: Apache-2.0
// One userfaultfd of this process: hears of accesses to pages that are not mapped, maps pages, releases who
// waits. Linux Documentation/admin-guide/mm/userfaultfd.rst; shared memory, MISSING and MINOR faults.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::memcrypt::software {

/// Any thread; one thread takes faults.
class Userfault {
public:
    /// `device` is an open /dev/userfaultfd: what it makes also hears of faults by the kernel (KVM, copies
    /// of system calls), which userfaultfd(2) gives to privileged callers only.
    static Result<Userfault> create(const UniqueFd& device);

    /// From here on every access to a page of `range` that is not mapped waits for map() or wake(). The
    /// range is a shared mapping of a memfd, on page boundaries.
    Result<void> watch(std::span<std::byte> range) const;

    /// Addresses that are waited for, as many as fit and are there. Does not wait.
    using Batch = std::array<std::uintptr_t, 16>;
    Result<std::size_t> take(Batch& out) const;

    /// Maps pages that are in the memfd, all of them unmapped now, and releases who waits for them.
    Result<void> map(std::span<std::byte> range) const;
    /// Lets who waits try its access again.
    Result<void> wake(std::span<std::byte> range) const;
    [[nodiscard]] const UniqueFd& fd() const noexcept { return fd_; }

private:
    explicit Userfault(UniqueFd fd) noexcept : fd_{std::move(fd)} {}
    UniqueFd fd_;
};

}  // namespace holdfast::memcrypt::software
