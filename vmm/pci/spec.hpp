// SPDX-License-Identifier: Apache-2.0
// Offsets and bits of PCI configuration space: PCI Local Bus 3.0 §6.1, §6.2, §6.8.2; ECAM: PCI
// Express 5.0 §7.2.2. Only what a type 0 function without I/O space needs.
#pragma once

#include <cstddef>
#include <cstdint>

namespace holdfast::pci::spec {

inline constexpr std::size_t kConfigSize = 256;
inline constexpr unsigned kBars = 6;

// §6.1, type 00h header.
inline constexpr std::size_t VENDOR_ID = 0x00;
inline constexpr std::size_t DEVICE_ID = 0x02;
inline constexpr std::size_t COMMAND = 0x04;
inline constexpr std::size_t STATUS = 0x06;
inline constexpr std::size_t REVISION_ID = 0x08;
inline constexpr std::size_t CLASS_CODE = 0x09;
inline constexpr std::size_t BAR0 = 0x10;
inline constexpr std::size_t SUBSYSTEM_VENDOR_ID = 0x2c;
inline constexpr std::size_t SUBSYSTEM_ID = 0x2e;
inline constexpr std::size_t CAPABILITIES = 0x34;
inline constexpr std::size_t INTERRUPT_LINE = 0x3c;
inline constexpr std::size_t INTERRUPT_PIN = 0x3d;
inline constexpr std::size_t FIRST_CAPABILITY = 0x40;

inline constexpr std::uint16_t COMMAND_MEMORY = 1U << 1;
inline constexpr std::uint16_t COMMAND_MASTER = 1U << 2;
inline constexpr std::uint16_t COMMAND_INTX_DISABLE = 1U << 10;
inline constexpr std::uint16_t STATUS_CAPABILITIES = 1U << 4;
inline constexpr std::uint32_t BAR_64BIT = 1U << 2;  // §6.2.5.1

inline constexpr std::uint8_t CAP_MSI = 0x05;
inline constexpr std::uint8_t CAP_VENDOR = 0x09;
inline constexpr std::uint8_t CAP_MSIX = 0x11;

// §6.8.1, MSI capability with 64-bit addresses.
inline constexpr std::size_t MSI_CONTROL = 2;
inline constexpr std::size_t MSI_ADDRESS = 4;
inline constexpr std::size_t MSI_DATA = 12;
inline constexpr std::uint16_t MSI_ENABLE = 1U << 0;
inline constexpr std::uint16_t MSI_64BIT = 1U << 7;

// §6.8.2, MSI-X capability and table.
inline constexpr std::size_t MSIX_CONTROL = 2;
inline constexpr std::uint16_t MSIX_ENABLE = 1U << 15;
inline constexpr std::uint16_t MSIX_FUNCTION_MASK = 1U << 14;
inline constexpr std::uint32_t MSIX_VECTOR_MASK = 1U << 0;
inline constexpr std::size_t MSIX_ENTRY_SIZE = 16;

}  // namespace holdfast::pci::spec
