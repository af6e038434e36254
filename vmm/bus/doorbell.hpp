// SPDX-License-Identifier: Apache-2.0
// Guest writes that the kernel turns into an eventfd signal without leaving to us (KVM ioeventfd).
#pragma once

#include <cstdint>

#include "sys/eventfd.hpp"
#include "sys/result.hpp"

namespace holdfast::bus {

/// Any thread, one call at a time for each address.
class Doorbells {
public:
    Doorbells() = default;
    Doorbells(const Doorbells&) = delete;
    Doorbells& operator=(const Doorbells&) = delete;
    virtual ~Doorbells() = default;
    /// From now on a guest write of any size and value at this memory address signals `event`.
    virtual Result<void> attach(std::uint64_t address, const EventFd& event) = 0;
    /// Undoes attach() with the same arguments.
    virtual void detach(std::uint64_t address, const EventFd& event) noexcept = 0;
};

}  // namespace holdfast::bus
