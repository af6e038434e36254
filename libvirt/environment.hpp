// SPDX-License-Identifier: Apache-2.0
// What domain XML has no words for: variables of <qemu:env>, each one flag of `holdfast run`.
#pragma once

#include <span>
#include <string_view>

namespace holdfast::libvirt {

/// The state directory of domains that run as libvirt's own user, who could write no other: holdfast libvirt
/// install makes it.
inline constexpr const char* kStateDir = "/var/lib/libvirt/holdfast";

struct Variable {
    std::string_view name;   ///< HOLDFAST_...
    std::string_view flag;   ///< of `run`; empty: the adapter's own
    bool is_switch = false;  ///< "on" or "off"
    std::string_view help;
};
[[nodiscard]] std::span<const Variable> variables() noexcept;

}  // namespace holdfast::libvirt
