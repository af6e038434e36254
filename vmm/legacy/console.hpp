// SPDX-License-Identifier: Apache-2.0
// The seam between a console device (serial port, virtio console) and the stream behind it.
#pragma once

#include <cstddef>
#include <span>

namespace holdfast::legacy {

/// What a sink that is ready() takes at least: the transmit FIFO that a 16550 driver fills without
/// looking in between.
inline constexpr std::size_t kConsoleBurst = 16;

/// Where a console's bytes go. Any thread.
class ConsoleSink {
public:
    ConsoleSink() = default;
    ConsoleSink(const ConsoleSink&) = delete;
    ConsoleSink& operator=(const ConsoleSink&) = delete;
    virtual ~ConsoleSink() = default;
    /// Whether write() takes kConsoleBurst bytes now. Once it said no, ConsoleDevice::output_ready()
    /// follows when that has changed. Takes no lock: a device asks with its own held.
    [[nodiscard]] virtual bool ready() const noexcept = 0;
    /// How many bytes, from the front, were taken. Never blocks.
    virtual std::size_t write(std::span<const std::byte> bytes) noexcept = 0;
    /// The device has room again for input it could not take. Never blocks.
    virtual void input_room() noexcept = 0;
};

/// A console device as its stream sees it. Called on the main loop's thread, with no lock held.
class ConsoleDevice {
public:
    ConsoleDevice() = default;
    ConsoleDevice(const ConsoleDevice&) = delete;
    ConsoleDevice& operator=(const ConsoleDevice&) = delete;
    virtual ~ConsoleDevice() = default;
    /// How many bytes, from the front, were taken; when not all, the device calls
    /// ConsoleSink::input_room() once there is room.
    [[nodiscard]] virtual std::size_t receive(std::span<const std::byte> bytes) noexcept = 0;
    /// The sink is ready() again.
    virtual void output_ready() noexcept = 0;
};

}  // namespace holdfast::legacy
