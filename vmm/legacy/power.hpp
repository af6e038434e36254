// SPDX-License-Identifier: Apache-2.0
// Power and reset: the fixed registers of hardware-reduced ACPI (ACPI 6.5 §4.8.3.6, §4.8.3.7), the
// event register behind a Generic Event Device (§5.6.9), and the keyboard controller's reset line.
// Port space, all offsets from kPowerPort:
//
//   0  sleep control  8 bits  write SLP_EN with SLP_TYP kSleepTypeS5: power off. Reads zero
//   1  sleep status   8 bits  reads zero (WAK_STS is never set: there is no sleeping state); writes ignored
//   2  reset          8 bits  write kResetValue: reset. Reads zero
//   3  reserved       reads zero
//   4  events        32 bits  one bit an event; a read gives and clears what is set; writes ignored
//
// The FADT names 0 as SLEEP_CONTROL_REG, 1 as SLEEP_STATUS_REG and 2 as RESET_REG with RESET_VALUE
// kResetValue; the DSDT's \_S5 is Package {kSleepTypeS5}; the GED (ACPI0013) has an edge-triggered,
// active-high interrupt kEventGsi, and its _EVT method reads the event register once and notifies the
// power button device with 0x80 if bit kPowerButtonBit is set.
#pragma once

#include <atomic>
#include <cstdint>

#include "vmm/bus/device.hpp"
#include "vmm/irq/line.hpp"

namespace holdfast::legacy {

inline constexpr std::uint16_t kPowerPort = 0x600;
inline constexpr std::uint16_t kPowerPorts = 8;
inline constexpr std::uint16_t kSleepControlOffset = 0;
inline constexpr std::uint16_t kSleepStatusOffset = 1;
inline constexpr std::uint16_t kResetOffset = 2;
inline constexpr std::uint16_t kEventOffset = 4;
inline constexpr std::uint8_t kSleepTypeS5 = 5;
inline constexpr std::uint8_t kResetValue = 1;
inline constexpr std::uint32_t kEventGsi = 5;
inline constexpr std::uint32_t kPowerButtonBit = 0;

inline constexpr std::uint16_t kKeyboardPort = 0x64;

/// What the guest asks of the machine. Called on vCPU threads, as often as the guest likes: note it
/// and wake somebody.
class PowerRequests {
public:
    PowerRequests() = default;
    PowerRequests(const PowerRequests&) = delete;
    PowerRequests& operator=(const PowerRequests&) = delete;
    virtual ~PowerRequests() = default;
    virtual void power_off_requested() noexcept = 0;
    virtual void reset_requested() noexcept = 0;
};

class Power final : public bus::Device {
public:
    /// Both are borrowed and outlive this. `events` is kEventGsi.
    Power(irq::Line& events, PowerRequests& requests) noexcept : events_{events}, requests_{requests} {}

    [[nodiscard]] std::string_view name() const noexcept override { return "power"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    /// Any thread. A press that the guest has not yet seen and another one are one.
    void press_button() noexcept;

private:
    irq::Line& events_;
    PowerRequests& requests_;
    std::atomic<std::uint32_t> pending_ = 0;
};

/// The command port of an 8042 keyboard controller, of which only the reset pulse exists: that is how
/// `reboot=k` and old kernels reset. A read gives status "output full, input empty": Linux' reset path
/// waits for the second, and its keyboard driver takes the first, forever, for "no controller" within a
/// millisecond instead of half a second.
class KeyboardReset final : public bus::Device {
public:
    explicit KeyboardReset(PowerRequests& requests) noexcept : requests_{requests} {}

    [[nodiscard]] std::string_view name() const noexcept override { return "keyboard-reset"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

private:
    PowerRequests& requests_;
};

}  // namespace holdfast::legacy
