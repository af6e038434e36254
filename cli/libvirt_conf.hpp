// SPDX-License-Identifier: Apache-2.0
// How this host's libvirt is set up.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::cli {

/// A setting of /etc/libvirt/qemu.conf, as far as a line says NAME = VALUE; empty: the default.
[[nodiscard]] std::string qemu_conf(std::string_view name);
/// Who domains run as.
[[nodiscard]] std::string domain_user();

/// Whether libvirt's daemon confines domains by AppArmor.
[[nodiscard]] bool has_apparmor();
/// The piece of libvirt's AppArmor profile for domains that lets holdfast-qemu work.
inline constexpr const char* kAppArmorPiece = "/etc/apparmor.d/abstractions/libvirt-qemu.d/holdfast";

}  // namespace holdfast::cli
