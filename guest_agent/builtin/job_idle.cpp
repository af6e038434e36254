// SPDX-License-Identifier: Apache-2.0
// Jobs that mostly wait, for tests that pause, kill or inspect the machine: spin, secret, fault.

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/random.hpp"

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

constexpr u64 kSecretWords = 4;

u64 secret_word(u64 seed, u64 index) { return mix((seed << 8) + (index + 1) * 0x9e3779b97f4a7c15); }

}  // namespace

void spin() {
    print("spinning\n");
    wait_for_input(boot::number("count", 0));
}

void secret() {
    // Computed at run time and kept in one place only: it stands in no file and in no other page.
    auto* words = pointer<u64>(memory::take(kPage));
    const u64 seed = boot::number("seed", 1);
    for (u64 i = 0; i < kSecretWords; ++i) words[i] = secret_word(seed, i);
    print("secret_address=", Hex{address_of(words)}, "\n");
    for (u64 i = 0; i < kSecretWords; ++i) print("secret_", i, "=", Hex{words[i]}, "\n");
    print("waiting\n");
    wait_for_input(boot::number("count", 0));
    for (u64 i = 0; i < kSecretWords; ++i) {
        if (words[i] != secret_word(seed, i)) fail("the secret changed");
    }
}

void fault() {
    print("reading where nothing is mapped\n");
    print(mmio_read<u8>(u64{511} * kGib), "\n");
}

}  // namespace holdfast::builtin::jobs
