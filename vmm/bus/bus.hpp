// SPDX-License-Identifier: Apache-2.0
// A bus that is only a bus: which device answers at which address, in one space (ports or memory).
#pragma once

#include <cstdint>
#include <shared_mutex>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "vmm/bus/device.hpp"

namespace holdfast::bus {

/// Thread-safe. Devices are borrowed and outlive the bus' users: a window may be removed while an
/// access to it is under way, the device itself may not.
class Bus {
public:
    /// Makes `device` answer at [start, start + size). Overlap with another window is an Input error
    /// and changes nothing.
    Result<void> add(std::uint64_t start, std::uint64_t size, Device& device);
    /// Takes back what add() did with this start; unknown starts are ignored.
    void remove(std::uint64_t start);

    /// False when nothing answers there (the access touched nothing; a read is all ones).
    bool read(std::uint64_t address, std::span<std::byte> out) const noexcept;
    bool write(std::uint64_t address, std::span<const std::byte> in) const noexcept;

private:
    struct Window {
        std::uint64_t start = 0;
        std::uint64_t size = 0;
        Device* device = nullptr;
    };
    [[nodiscard]] Window find(std::uint64_t address, std::uint64_t size) const noexcept;

    mutable std::shared_mutex lock_;  // a BAR moves rarely, accesses are many
    std::vector<Window> windows_;     // sorted by start, disjoint
};

}  // namespace holdfast::bus
