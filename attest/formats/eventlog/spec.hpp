// SPDX-License-Identifier: Apache-2.0
// Event types of TCG PC Client Platform Firmware Profile 1.05, §10.4.1 (docs/specs.md): those that are
// judged.
#pragma once

#include <cstdint>

namespace holdfast::attest::eventlog::ev {

inline constexpr std::uint32_t NO_ACTION = 0x00000003;
inline constexpr std::uint32_t SEPARATOR = 0x00000004;
inline constexpr std::uint32_t S_CRTM_CONTENTS = 0x00000007;
inline constexpr std::uint32_t S_CRTM_VERSION = 0x00000008;
inline constexpr std::uint32_t EFI_VARIABLE_DRIVER_CONFIG = 0x80000001;
inline constexpr std::uint32_t EFI_BOOT_SERVICES_APPLICATION = 0x80000003;
inline constexpr std::uint32_t EFI_ACTION = 0x80000007;
inline constexpr std::uint32_t EFI_VARIABLE_AUTHORITY = 0x800000e0;

}  // namespace holdfast::attest::eventlog::ev
