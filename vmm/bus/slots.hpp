// SPDX-License-Identifier: Apache-2.0
// Memory that the guest reaches without leaving to us (KVM memory slots), outside of its RAM.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/result.hpp"

namespace holdfast::bus {

/// Any thread.
class Slots {
public:
    Slots() = default;
    Slots(const Slots&) = delete;
    Slots& operator=(const Slots&) = delete;
    virtual ~Slots() = default;
    /// From now on these pages are the guest's at this address. They stay mapped until unmap().
    virtual Result<void> map(std::uint64_t address, std::span<std::byte> pages) = 0;
    /// Undoes the map() at this address.
    virtual void unmap(std::uint64_t address) noexcept = 0;
};

}  // namespace holdfast::bus
