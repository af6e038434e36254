// SPDX-License-Identifier: Apache-2.0
// Time is counted in TSC cycles; seconds only where the machine or the command line tells the
// frequency.
#pragma once

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::clock {

/// From `tsc_khz=`, CPUID 0x15 or 0x40000010; 0 if nobody says.
[[nodiscard]] u64 tsc_khz();
/// Prints `cycles=`, and per unit; with a known frequency also `ns_per_<unit>=`.
void report(u64 elapsed, u64 count, const char* unit);

}  // namespace holdfast::builtin::clock
