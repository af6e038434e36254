// SPDX-License-Identifier: Apache-2.0
// The ACPI tables (ACPI 6.5, hardware-reduced). All static but for the number of CPUs and whether
// there are a TPM and devices of the host, so they can be part of a launch measurement; the only AML is
// dsdt.asl, tpm.asl and intx.asl.
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
    bool lines = false;  ///< their interrupt lines (INTA) are routed, by intx.asl
};
[[nodiscard]] constexpr std::uint16_t endpoint_id(std::uint8_t device) noexcept {
    return static_cast<std::uint16_t>(device << 3);
}
/// The I/O APIC's pin for the interrupt line of this PCI device, as intx.asl says: four in a row have their
/// own.
[[nodiscard]] constexpr std::uint32_t line_gsi(std::uint8_t device) noexcept { return 16U + device % 4U; }

/// Writes RSDP (at layout's kAcpiTables), XSDT, FADT, DSDT, MADT, MCFG and, with a TPM, SSDT and TPM2, with
/// an IOMMU, VIOT, and another SSDT for interrupt lines.
Result<void> write_acpi_tables(Loader& loader, std::uint32_t cpus, WithTpm tpm,
                               const std::optional<Viot>& viot = {});

/// The .asl files as iasl compiles them; a test compiles the sources again and compares.
[[nodiscard]] std::span<const std::uint8_t> dsdt() noexcept;
[[nodiscard]] std::span<const std::uint8_t> tpm_ssdt() noexcept;
[[nodiscard]] std::span<const std::uint8_t> intx_ssdt() noexcept;

}  // namespace holdfast::boot
