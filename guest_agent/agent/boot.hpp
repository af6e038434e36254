// SPDX-License-Identifier: Apache-2.0
// What the first program of an initramfs owes the rest: file systems, modules, /dev/console, and an end.
#pragma once

#include <string>

#include "sys/fd.hpp"

namespace holdfast::agent {

/// Where `holdfast image` puts kernel modules, in the order of their names.
inline constexpr const char* kModulesDirectory = "/lib/holdfast/modules";

/// Mounts /proc, /sys, /dev, /dev/pts, /run and /tmp.
Result<void> mount_basics();
/// Loads all modules. One that cannot be loaded is logged and left out: what needs it will say so.
void load_modules();
/// Standard input, output and error become the console, which a module may only now have made.
Result<void> open_console();
/// Readable once the power button is pressed; empty where this machine has none.
[[nodiscard]] UniqueFd open_power_button();
inline constexpr const char* kNewRoot = "/root-of-disk";  ///< where a disk is mounted that becomes the root

/// The file system at kNewRoot becomes the root, with /dev, /proc, /sys and /run of this one, and `init` the
/// first process. In /run/holdfast are this agent, as `agent`, and its agent.conf. Returns only what fails.
[[nodiscard]] Error become_init(const std::string& init);

/// Syncs and ends the machine. Returns where that is not allowed.
void power_off() noexcept;

}  // namespace holdfast::agent
