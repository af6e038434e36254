// SPDX-License-Identifier: Apache-2.0
// The ACPI tables (ACPI 6.5, hardware-reduced). All static but for the number of CPUs, so they can be
// part of a launch measurement; the only AML is dsdt.asl.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/boot/loader.hpp"

namespace holdfast::boot {

/// Writes RSDP (at layout's kAcpiTables), XSDT, FADT, DSDT, MADT and MCFG.
Result<void> write_acpi_tables(Loader& loader, std::uint32_t cpus);

/// dsdt.asl as iasl compiles it; a test compiles the source again and compares.
[[nodiscard]] std::span<const std::uint8_t> dsdt() noexcept;

}  // namespace holdfast::boot
