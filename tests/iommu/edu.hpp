// SPDX-License-Identifier: Apache-2.0
// QEMU's teaching device (docs/specs/edu.rst: 1234:11e8) as a weapon: it reads and writes whatever address it
// is told to, and never says whether that worked.
#pragma once

#include <cstdint>

#include "iommu/host/device.hpp"

namespace holdfast::iommu {

class Edu {
public:
    static constexpr std::uint64_t kBuffer = 0x40000;  ///< of the device, kPageSize bytes
    explicit Edu(const host::Device& device) : device_{device}, registers_{*device.region(0)} {}

    /// The device reads `size` bytes at `from` into its buffer. What it may not read comes as zeros.
    void read_memory(Iova from, std::uint32_t size) {
        run(static_cast<std::uint32_t>(from.value()), kBuffer, size, 0);
    }
    /// The device writes the first `size` bytes of its buffer to `to`.
    void write_memory(Iova to, std::uint32_t size) {
        run(kBuffer, static_cast<std::uint32_t>(to.value()), size, 2);
    }
    /// Starts and does not wait.
    void start_write(Iova to, std::uint32_t size) {
        put(0x80, kBuffer);
        put(0x88, static_cast<std::uint32_t>(to.value()));
        put(0x90, size);
        put(0x98, 3);
    }

private:
    void run(std::uint32_t source, std::uint32_t destination, std::uint32_t size, std::uint32_t direction) {
        put(0x80, source);
        put(0x88, destination);
        put(0x90, size);
        put(0x98, direction | 1);
        // A timer of the device ends it after 100 ms of its time; the test's own time limit is the bound.
        while ((get(0x98) & 1) != 0) {
        }
    }
    void put(std::uint64_t at, std::uint32_t value) {
        check(device_.write(registers_, at, std::as_bytes(std::span{&value, 1})).has_value(), "edu: write");
    }
    std::uint32_t get(std::uint64_t at) {
        std::uint32_t value = 0;
        check(device_.read(registers_, at, std::as_writable_bytes(std::span{&value, 1})).has_value(),
              "edu: read");
        return value;
    }
    const host::Device& device_;
    host::Region registers_;
};

}  // namespace holdfast::iommu
