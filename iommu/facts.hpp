// SPDX-License-Identifier: Apache-2.0
// What a host says of one PCI device, as far as the policy judges it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "iommu/mapping.hpp"

namespace holdfast::iommu {

struct PciIds {
    std::uint16_t vendor = 0;
    std::uint16_t device = 0;
    friend bool operator==(const PciIds&, const PciIds&) noexcept = default;
};

struct GroupMember {
    std::string address;
    bool is_bridge = false;  ///< masters the bus for others only, and stays with the host
    std::string driver;      ///< empty: none
};

struct ReservedRegion {
    IovaRange range;
    std::string kind;  ///< the kernel's word: msi, reserved, direct, direct-relaxable
};

struct DeviceFacts {
    std::string address;  ///< 0000:01:00.0
    PciIds ids;
    std::uint32_t class_code = 0;
    std::string driver;
    std::optional<unsigned> group;  ///< none: no IOMMU is before it
    std::string group_type;         ///< the kernel's word for the group's default domain
    std::vector<GroupMember> members;
    std::vector<ReservedRegion> reserved;
    std::vector<std::string> reset_methods;
    bool capabilities_known = false;  ///< else the next two are not
    bool has_ats = false;
    bool has_pri = false;
    bool interrupts_remapped = false;
    bool unsafe_interrupts_allowed = false;
};

/// Whether a text is a device's address as the kernel writes it, so that it may become part of a path.
[[nodiscard]] bool is_pci_address(std::string_view text) noexcept;

}  // namespace holdfast::iommu
