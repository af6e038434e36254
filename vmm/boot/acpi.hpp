// SPDX-License-Identifier: Apache-2.0
// The ACPI tables (ACPI 6.5, hardware-reduced). All static but for the number of CPUs and whether
// there are a TPM and devices of the host, so they can be part of a launch measurement; the only AML is
// dsdt.asl and tpm.asl.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "vmm/boot/loader.hpp"

namespace holdfast::boot {

/// Whether the machine has a TPM, behind the CRB of vmm/tpm and with its event log at layout's kEventLog.
enum class WithTpm : bool { No, Yes };

/// A virtio IOMMU on bus 0, and which devices are behind it: PCI device numbers, function 0 of each. An
/// endpoint's id is its bus address (endpoint_id()).
struct Viot {
    std::uint8_t iommu = 0;
    std::uint8_t first = 0;
    std::uint8_t last = 0;
};
[[nodiscard]] constexpr std::uint16_t endpoint_id(std::uint8_t device) noexcept {
    return static_cast<std::uint16_t>(device << 3);
}

/// Writes RSDP (at layout's kAcpiTables), XSDT, FADT, DSDT, MADT, MCFG and, with a TPM, SSDT and TPM2, with
/// an IOMMU, VIOT.
Result<void> write_acpi_tables(Loader& loader, std::uint32_t cpus, WithTpm tpm,
                               const std::optional<Viot>& viot = {});

/// dsdt.asl and tpm.asl as iasl compiles them; a test compiles the sources again and compares.
[[nodiscard]] std::span<const std::uint8_t> dsdt() noexcept;
[[nodiscard]] std::span<const std::uint8_t> tpm_ssdt() noexcept;

}  // namespace holdfast::boot
