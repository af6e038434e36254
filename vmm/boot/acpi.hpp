// SPDX-License-Identifier: Apache-2.0
// The ACPI tables (ACPI 6.5, hardware-reduced). All static but for the number of CPUs and whether
// there is a TPM, so they can be part of a launch measurement; the only AML is dsdt.asl and tpm.asl.
#pragma once

#include <cstdint>
#include <span>

#include "vmm/boot/loader.hpp"

namespace holdfast::boot {

/// Whether the machine has a TPM, behind the CRB of vmm/tpm and with its event log at layout's kEventLog.
enum class WithTpm : bool { No, Yes };

/// Writes RSDP (at layout's kAcpiTables), XSDT, FADT, DSDT, MADT, MCFG and, with a TPM, SSDT and TPM2.
Result<void> write_acpi_tables(Loader& loader, std::uint32_t cpus, WithTpm tpm);

/// dsdt.asl and tpm.asl as iasl compiles them; a test compiles the sources again and compares.
[[nodiscard]] std::span<const std::uint8_t> dsdt() noexcept;
[[nodiscard]] std::span<const std::uint8_t> tpm_ssdt() noexcept;

}  // namespace holdfast::boot
