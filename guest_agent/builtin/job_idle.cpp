// SPDX-License-Identifier: Apache-2.0
// Jobs that mostly wait, for tests that pause, kill or inspect the machine: spin and fault.

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"

namespace holdfast::builtin::jobs {
namespace {

/// Until a byte is typed; with a limit other than 0, for that many TSC cycles at most.
void wait_for_input(u64 limit) {
    const u64 start = cycles();
    while (typed() < 0) {
        for (int i = 0; i < 10'000; ++i) pause();  // asking the UART is an exit
        if (limit != 0 && cycles() - start > limit) return;
    }
}

}  // namespace

void spin() {
    print("spinning\n");
    wait_for_input(boot::number("count", 0));
}

void fault() {
    print("reading where nothing is mapped\n");
    print(mmio_read<u8>(u64{511} * kGib), "\n");
}

}  // namespace holdfast::builtin::jobs
