// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/clock.hpp"

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

namespace holdfast::builtin::clock {

u64 tsc_khz() {
    if (const u64 told = boot::number("tsc_khz", 0); told != 0) return told;
    if (cpuid(0).eax >= 0x15) {
        const CpuidLeaf leaf = cpuid(0x15);
        if (leaf.eax != 0 && leaf.ebx != 0 && leaf.ecx != 0) {
            return u64{leaf.ecx} * leaf.ebx / leaf.eax / 1000;
        }
    }
    const bool is_guest = (cpuid(1).ecx >> 31) != 0;
    if (is_guest && cpuid(0x40000000).eax >= 0x40000010) return cpuid(0x40000010).eax;
    return 0;
}

void report(u64 elapsed, u64 count, const char* unit) {
    const u64 each = count == 0 ? 0 : elapsed / count;
    print("cycles=", elapsed, "\ncycles_per_", unit, "=", each, "\n");
    const u64 khz = tsc_khz();
    if (khz == 0 || count == 0) return;
    print("ns_per_", unit, "=", each * 1'000'000 / khz, "\n");
    if (elapsed != 0) print("per_second=", count * khz / (elapsed / 1000 + 1), "\n");
}

}  // namespace holdfast::builtin::clock
