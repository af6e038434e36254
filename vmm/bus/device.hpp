// SPDX-License-Identifier: Apache-2.0
// What a guest's port or memory-mapped access reaches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace holdfast::bus {

/// One guest-visible register window, in port or memory space. Called on any vCPU thread, several at
/// once, with no bus lock held. The bus has checked that [offset, offset + size) lies inside the
/// window and that size is 1, 2, 4 or 8; nothing else about the access may be trusted. An access
/// cannot fail: hardware has no error return. Reads that mean nothing give all ones.
class Device {
public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;
    [[nodiscard]] virtual std::string_view name() const noexcept = 0;
    virtual void read(std::uint64_t offset, std::span<std::byte> out) noexcept = 0;
    virtual void write(std::uint64_t offset, std::span<const std::byte> in) noexcept = 0;
};

}  // namespace holdfast::bus
