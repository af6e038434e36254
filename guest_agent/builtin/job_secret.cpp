// SPDX-License-Identifier: Apache-2.0
// secret: 32 bytes that exist in one page of RAM and nowhere else, for tests that look for them in dumps.
// They are computed from the seed, so they stand in no file and no command line, and tests/memcrypt/guest.py
// computes the same.

#include <array>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/random.hpp"

namespace holdfast::builtin::jobs {
namespace {

constexpr u64 kWords = 4;
constexpr u64 kGap =
    64;  // pages on both sides that nobody touches: a neighbour in use would keep the secret clear
constexpr u64 kWork = 256;  // pages that the guest uses meanwhile

u64 word(u64 seed, u64 index) { return mix((seed << 8) + (index + 1) * 0x9e3779b97f4a7c15); }

/// Overwrites what a call leaves behind: the stack below us, and the registers that callees need not
/// preserve.
[[gnu::noinline]] void forget() {
    std::array<u64, 256> stack;
    for (u64& each : stack) *const_cast<volatile u64*>(&each) = 0;
    // SAFETY: every register named is given to the compiler as overwritten.
    asm volatile(
        "xor %%eax, %%eax; xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi;"
        "xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d;"
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15; pxor %%xmm\\n, %%xmm\\n; .endr" ::
            : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3",
              "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
              "xmm15", "cc", "memory");
}

[[gnu::noinline]] void plant(volatile u64* words, u64 seed) {
    for (u64 i = 0; i < kWords; ++i) words[i] = word(seed, i);
}

[[gnu::noinline]] void check(const volatile u64* words, u64 seed) {
    for (u64 i = 0; i < kWords; ++i) {
        if (words[i] != word(seed, i)) fail("the secret changed");
    }
}

void work(u64 area, u64 round) {
    for (u64 page = 0; page < kWork; ++page) {
        auto* at = pointer<volatile u64>(area + page * kPage);
        if (round != 0 && *at != round - 1) fail("wrong bytes at ", Hex{area + page * kPage});
        *at = round;
    }
}

}  // namespace

void secret() {
    const u64 seed = boot::number("seed", 1);
    const u64 rounds = boot::number("rounds", 0);
    const u64 page = memory::take((2 * kGap + 1) * kPage) + kGap * kPage;
    const u64 area = memory::take(kWork * kPage);
    auto* const words = pointer<volatile u64>(page);
    plant(words, seed);
    forget();
    print("planted=", Hex{page}, "\n");
    u64 round = 0;
    for (bool more = true; more;) {
        work(area, round++);
        // Typed `c`: the secret is looked at, so that it has been opened. Any other key: the end.
        const int key = typed();
        if (key == 'c') {
            check(words, seed);
            forget();
            print("checked\n");
        }
        more = rounds == 0 ? key < 0 || key == 'c' : round < rounds;
    }
    check(words, seed);
    print("rounds=", round, "\n");
}

}  // namespace holdfast::builtin::jobs
