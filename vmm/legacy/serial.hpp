// SPDX-License-Identifier: Apache-2.0
// A serial port: the National Semiconductor PC16550D (data sheet of June 1995). There is no line
// behind it, so no baud rate, parity, framing error or break; a character is sent when it is written.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "sys/thread.hpp"
#include "vmm/bus/device.hpp"
#include "vmm/irq/line.hpp"
#include "vmm/legacy/console.hpp"

namespace holdfast::legacy {

inline constexpr std::uint16_t kSerialPort = 0x3f8;  ///< COM1, in port space
inline constexpr std::uint16_t kSerialPorts = 8;
inline constexpr std::uint32_t kSerialGsi = 4;  ///< edge-triggered, active high

/// Registers on any vCPU thread; the ConsoleDevice side on the main loop's.
class Serial final : public bus::Device, public ConsoleDevice {
public:
    /// Both are borrowed and outlive this.
    Serial(irq::Line& interrupt, ConsoleSink& sink) noexcept : interrupt_{interrupt}, sink_{sink} {}

    [[nodiscard]] std::string_view name() const noexcept override { return "serial"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    [[nodiscard]] std::size_t receive(std::span<const std::byte> bytes) noexcept override;
    void output_ready() noexcept override;

    /// Bytes the guest pushed while the line status said that it must not.
    [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_; }

private:
    static constexpr std::size_t kFifo = 16;

    [[nodiscard]] std::uint8_t read_register(std::uint64_t offset) noexcept;
    void write_register(std::uint64_t offset, std::uint8_t value) noexcept;
    void transmit(std::uint8_t value) noexcept;

    /// The interrupt sources (the bits of IER) that are enabled and active.
    [[nodiscard]] std::uint8_t causes() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint8_t identify() noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint8_t modem_lines() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] bool latch_selected() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::size_t fifo_room() const noexcept HF_REQUIRES(lock_);
    void push(std::uint8_t value) noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint8_t pop() noexcept HF_REQUIRES(lock_);
    void set_fifo_control(std::uint8_t value) noexcept HF_REQUIRES(lock_);
    void set_modem_control(std::uint8_t value) noexcept HF_REQUIRES(lock_);
    void clear_input() noexcept HF_REQUIRES(lock_);

    irq::Line& interrupt_;
    ConsoleSink& sink_;
    std::atomic<std::uint64_t> dropped_ = 0;

    Mutex lock_;
    std::array<std::uint8_t, kFifo> fifo_ HF_GUARDED_BY(lock_){};
    std::size_t head_ HF_GUARDED_BY(lock_) = 0;
    std::size_t count_ HF_GUARDED_BY(lock_) = 0;
    bool starved_ HF_GUARDED_BY(lock_) = false;           ///< receive() left bytes with its caller
    bool room_ HF_GUARDED_BY(lock_) = false;              ///< ... and now the FIFO is empty: say so
    bool sent_ HF_GUARDED_BY(lock_) = false;              ///< THR-empty interrupt not yet acknowledged
    std::uint8_t divisor_low_ HF_GUARDED_BY(lock_) = 12;  // 9600 baud, as firmware leaves it
    std::uint8_t divisor_high_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t ier_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t fcr_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t lcr_ HF_GUARDED_BY(lock_) = 3;  // 8 bits, no parity
    std::uint8_t mcr_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t modem_changes_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t line_errors_ HF_GUARDED_BY(lock_) = 0;
    std::uint8_t scratch_ HF_GUARDED_BY(lock_) = 0;
};

}  // namespace holdfast::legacy
