// SPDX-License-Identifier: Apache-2.0
// What one virtio device type is, apart from the bus it sits on.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "vmm/io/client.hpp"
#include "vmm/virtio/queue.hpp"

namespace holdfast::virtio {

/// Fixed for a device's life, so any thread may read it.
struct Description {
    std::string_view name;
    std::uint16_t type = 0;
    std::uint32_t pci_class = 0;
    std::uint64_t features = 0;              ///< the device type's own bits
    std::span<const std::uint16_t> queues;   ///< the largest size of each, powers of two
    std::span<const std::byte> config;       ///< device configuration space; read-only to the driver
    std::optional<io::ResourceId> resource;  ///< whose completions this device takes
};

/// Everything below but describe() happens on the device thread. A guest fault that is returned
/// makes the device ask for a reset; until then nothing but complete() and stop() is called.
class Device {
public:
    using Clock = std::chrono::steady_clock;

    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    [[nodiscard]] virtual Description describe() const noexcept = 0;

    /// The driver is ready. `queues` stay where they are until stop().
    virtual void start(std::span<Queue> queues, std::uint64_t features) noexcept = 0;
    /// The device was reset; it forgets the queues. Called when is_idle().
    virtual void stop() noexcept = 0;
    /// Does what can be done now: takes chains, goes on with what waited. Bounded work for each
    /// call; chains that are left over bring the next call.
    virtual Result<void> run() noexcept = 0;
    /// A request of describe().resource has completed; run() follows. Also while stopped.
    virtual Result<void> complete(io::Completion /*completion*/) noexcept { return {}; }
    /// No request is with the I/O process whose completion will touch guest memory.
    [[nodiscard]] virtual bool is_idle() const noexcept { return true; }
    /// When run() is wanted though nothing happens.
    [[nodiscard]] virtual std::optional<Clock::time_point> deadline() const noexcept { return std::nullopt; }
    /// A descriptor, always the same, whose readiness (EPOLLIN, EPOLLOUT; 0: not now) brings run().
    struct Watch {
        const UniqueFd* fd = nullptr;
        std::uint32_t events = 0;
    };
    [[nodiscard]] virtual Watch watch() noexcept { return {}; }
};

/// Chains one run() takes of a queue that completes them at once.
inline constexpr int kChainsPerRun = 64;

}  // namespace holdfast::virtio
