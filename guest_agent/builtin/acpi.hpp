// SPDX-License-Identifier: Apache-2.0
// The static ACPI tables (6.5): processors (MADT 5.2.12), power and reset registers (FADT 5.2.9,
// 4.8.3.7), ECAM (MCFG, PCI Firmware 3.3). AML is not read: the S5 sleep type is taken to be 5, as
// in QEMU's microvm and in ours.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::acpi {

/// Generic address structure, 5.2.3.2, reduced to what a one-byte register needs.
struct Register {
    bool present;
    bool is_port;
    u64 address;
    void write(u8 value) const;
};

struct Tables {
    std::array<u32, 64> apic_ids;
    std::size_t processors;
    u64 local_apic;
    u64 ecam;
    Register sleep_control;
    Register reset;
    u8 reset_value;
    std::array<char, 6> oem;
    [[nodiscard]] std::string_view oem_name() const;
};

/// Reads the tables on the first call and keeps their memory from being handed out.
const Tables& tables();

}  // namespace holdfast::builtin::acpi
