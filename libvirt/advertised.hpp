// SPDX-License-Identifier: Apache-2.0
// What Holdfast says of itself to libvirt: types with the properties that a command line may set, machines,
// CPU models. One table, which the capability probe's answers and the checks of plan.cpp both read: so
// nothing is advertised that would be refused, and nothing taken that was not advertised.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace holdfast::libvirt {

struct Type {
    std::string_view name;
    std::span<const std::string_view> properties;
    std::string_view note =
        {};  ///< not empty: libvirt asks for the name, the device itself is refused, and why
};
[[nodiscard]] std::span<const Type> advertised_types() noexcept;
/// Null: not ours.
[[nodiscard]] const Type* find_type(std::string_view name) noexcept;

/// libvirt knows the PCI layout by this beginning of a machine's name.
inline constexpr std::string_view kMachine = "pc-q35-holdfast-1";
inline constexpr std::string_view kMachineAlias = "q35";
inline constexpr std::string_view kRamId = "pc.ram";
/// The kinds of networks: of -netdev's type.
inline constexpr std::string_view kNetTap = "tap";
inline constexpr std::string_view kNetUser = "user";
inline constexpr unsigned kMostCpus = 64;
/// The version of QEMU whose command line and protocol these are: libvirt refuses what says less than 6.2.
inline constexpr unsigned kQemuMajor = 10;

}  // namespace holdfast::libvirt
