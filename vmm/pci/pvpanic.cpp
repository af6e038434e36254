// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/pvpanic.hpp"

#include <algorithm>

namespace holdfast::pci {

namespace {
constexpr std::byte kPanicked{1U << 0};
constexpr std::byte kCrashLoaded{1U << 1};
// The register is one byte; a page of its own keeps other BARs out of the guest's mapping of it.
constexpr std::uint64_t kBarSize = 4096;
}  // namespace

Pvpanic::Pvpanic(std::function<void(Event)> on_event)
    : Function{{.vendor = 0x1b36,
                .device = 0x0011,
                .class_code = 0x088000,
                .revision = 1,
                .subsystem_vendor = 0x1af4,
                .subsystem = 0x1100}},
      register_{std::move(on_event)} {
    add_bar(0, kBarSize, BarWidth::Bits32, register_);
}

void Pvpanic::Register::read(std::uint64_t offset, std::span<std::byte> out) noexcept {
    std::ranges::fill(out, std::byte{0});
    if (offset == 0) out[0] = kPanicked | kCrashLoaded;
}

void Pvpanic::Register::write(std::uint64_t offset, std::span<const std::byte> in) noexcept {
    if (offset != 0) return;
    // A crash kernel that is loaded outranks: the guest wants to live on and dump itself.
    if ((in[0] & kCrashLoaded) != std::byte{0}) {
        on_event_(Event::CrashLoaded);
    } else if ((in[0] & kPanicked) != std::byte{0}) {
        on_event_(Event::Panicked);
    }
}

}  // namespace holdfast::pci
