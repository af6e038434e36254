// SPDX-License-Identifier: Apache-2.0
#include "vmm/legacy/power.hpp"

#include <algorithm>

namespace holdfast::legacy {
namespace {

// ACPI 6.5 table 4.18, sleep control register.
constexpr std::uint8_t kSleepEnable = 1U << 5;
constexpr std::uint8_t sleep_type(std::uint8_t control) { return (control >> 2) & 7; }

constexpr std::uint8_t kPulseReset = 0xfe;
constexpr std::byte kOutputFull{0x01};

}  // namespace

void Power::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    for (std::byte& byte : out) {
        const std::uint64_t at = offset++;
        byte = std::byte{0};
        if (at < kEventOffset) continue;
        // Each byte clears what it shows, so that a narrow read loses nothing.
        const auto shift = static_cast<unsigned>(at - kEventOffset) * 8;
        const std::uint32_t mask = 0xffU << shift;
        byte = static_cast<std::byte>((pending_.fetch_and(~mask) & mask) >> shift);
    }
}

void Power::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    for (const std::byte byte : in) {
        const auto value = std::to_integer<std::uint8_t>(byte);
        const std::uint64_t at = offset++;
        if (at == kSleepControlOffset && (value & kSleepEnable) != 0 && sleep_type(value) == kSleepTypeS5) {
            requests_.power_off_requested();
        } else if (at == kResetOffset && value == kResetValue) {
            requests_.reset_requested();
        }
    }
}

void Power::press_button() noexcept {
    pending_.fetch_or(1U << kPowerButtonBit);
    events_.trigger();
}

void KeyboardReset::read(std::uint64_t, std::span<std::byte> out) noexcept {
    std::ranges::fill(out, kOutputFull);
}

void KeyboardReset::write(std::uint64_t, std::span<const std::byte> in) noexcept {
    if (std::to_integer<std::uint8_t>(in.front()) == kPulseReset) requests_.reset_requested();
}

}  // namespace holdfast::legacy
