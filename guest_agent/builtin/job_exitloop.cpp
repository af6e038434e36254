// SPDX-License-Identifier: Apache-2.0
// exitloop: what one exit to the VMM costs, by port or by device register.

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/clock.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"

namespace holdfast::builtin::jobs {

void exitloop() {
    const auto kind = boot::option("kind", "pio");
    const u64 count = boot::number("count", 100'000);
    u64 start = 0;
    if (kind == "pio") {
        const auto port = static_cast<u16>(boot::number("port", 0x80));
        start = cycles();
        for (u64 i = 0; i < count; ++i) port_write<u8>(port, 0);
    } else if (kind == "mmio") {
        // By default the vendor id of PCI function 0, which every machine with ECAM answers.
        const u64 address = boot::number("addr", acpi::tables().ecam);
        if (!memory::map(address, 4)) fail("addr is out of reach");
        start = cycles();
        for (u64 i = 0; i < count; ++i) static_cast<void>(mmio_read<u32>(address));
    } else {
        fail("kind is pio or mmio, not ", kind);
    }
    const u64 elapsed = cycles() - start;
    print("kind=", kind, "\nexits=", count, "\n");
    clock::report(elapsed, count, "exit");
}

}  // namespace holdfast::builtin::jobs
