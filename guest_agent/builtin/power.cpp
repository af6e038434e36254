// SPDX-License-Identifier: Apache-2.0
// How the machine ends: `end=poweroff|reboot|panic|hang|halt`. Hardware-reduced ACPI 6.5 §4.8.3.7
// for power, the FADT's reset register, QEMU's pvpanic-pci (docs/specs/pvpanic.rst).

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/pci.hpp"

extern "C" [[noreturn]] void ring3_halt();

namespace holdfast::builtin {
namespace {

constexpr u8 kSleepTypeS5 = 5 << 2;
constexpr u8 kSleepEnable = 1 << 5;
constexpr u8 kPanicked = 1;

void panic() {
    const auto device = pci::find(0x1b36, 0x0011);
    if (!device) {
        print("no pvpanic-pci device\n");
        return;
    }
    mmio_write<u8>(device->bar(0), kPanicked);
}

}  // namespace

void end_machine() {
    const std::string_view how = boot::option("end", "poweroff");
    if (how == "halt") ring3_halt();
    if (how == "panic") panic();
    const auto& tables = acpi::tables();
    if (how == "reboot" && tables.reset.present) tables.reset.write(tables.reset_value);
    if (how == "poweroff" && tables.sleep_control.present) {
        tables.sleep_control.write(kSleepTypeS5 | kSleepEnable);
    }
    // The end may take a moment to come, and `hang` asks for just this.
    for (;;) pause();
}

}  // namespace holdfast::builtin
