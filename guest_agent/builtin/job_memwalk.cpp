// SPDX-License-Identifier: Apache-2.0
// memwalk: touches memory in a given order and checks every byte it finds. What a slot holds
// depends on its address, the seed and how often it was written, and that count is kept elsewhere:
// so a page that comes back altered, swapped with another or as it was earlier is noticed.

#include <algorithm>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/clock.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/random.hpp"
#include "guest_agent/builtin/smp.hpp"

namespace holdfast::builtin::jobs {
namespace {

enum class Pattern : u8 { Sequential, Random, Zipf, PingPong };

struct Walk {
    u64 base, stride, words, passes, seed;
    Pattern pattern;
    bool write;
};

/// One processor's part of the area, alone on its cache lines.
struct alignas(64) Part {
    u64 first_slot, slots;
    u8* generations;  // one a slot
    u64 accesses, cycles, slowest;
};

Walk walk;
Part parts[smp::kMaxProcessors];

Pattern pattern_named(std::string_view name) {
    if (name == "sequential") return Pattern::Sequential;
    if (name == "random") return Pattern::Random;
    if (name == "zipf") return Pattern::Zipf;
    if (name == "pingpong") return Pattern::PingPong;
    fail("pattern is sequential, random, zipf or pingpong, not ", name);
}

u64 expected(u64 address, u8 generation) { return mix(address ^ walk.seed << 40 ^ u64{generation} << 56); }

void check(u64 slot, u8 generation) {
    const auto* words = pointer<const volatile u64>(slot);
    for (u64 i = 0; i < walk.words; ++i) {
        const u64 found = words[i];
        const u64 right = expected(slot + 8 * i, generation);
        if (found != right) {
            fail("wrong bytes at ", Hex{slot + 8 * i}, ": found ", Hex{found}, ", expected ", Hex{right},
                 " of write ", generation);
        }
    }
}

void fill(u64 slot, u8 generation) {
    auto* words = pointer<volatile u64>(slot);
    for (u64 i = 0; i < walk.words; ++i) words[i] = expected(slot + 8 * i, generation);
}

/// The slot that access number `i` of a pass goes to.
u64 choose(const Part& part, u64 i, Random& random) {
    switch (walk.pattern) {
        case Pattern::Sequential: return i;
        case Pattern::Random: return random.below(part.slots);
        case Pattern::PingPong: return i % 2 == 0 ? i / 2 : part.slots / 2 + i / 2;
        case Pattern::Zipf: {
            // Rank r with a weight of about 1/r: each power of two of ranks is equally likely. The
            // prime scatters neighbouring ranks over the area.
            const u64 octave = random.below(static_cast<u64>(64 - __builtin_clzll(part.slots)));
            const u64 rank = (u64{1} << octave) - 1 + random.below(u64{1} << octave);
            return rank % part.slots * 2'654'435'761 % part.slots;
        }
    }
    __builtin_unreachable();
}

void run_part(u64 index) {
    Part& part = parts[index];
    Random random{walk.seed + index};
    for (u64 pass = 0; pass < walk.passes; ++pass) {
        for (u64 i = 0; i < part.slots; ++i) {
            const u64 chosen = choose(part, i, random);
            const u64 slot = walk.base + (part.first_slot + chosen) * walk.stride;
            u8& generation = part.generations[chosen];
            const u64 start = cycles();
            check(slot, generation);
            if (walk.write) fill(slot, ++generation);
            const u64 took = cycles() - start;
            part.slowest = std::max(part.slowest, took);
            part.cycles += took;
            ++part.accesses;
        }
    }
    // What a pattern left out is checked too, once and untimed.
    for (u64 i = 0; i < part.slots; ++i) {
        check(walk.base + (part.first_slot + i) * walk.stride, part.generations[i]);
    }
}

void fill_part(u64 index) {
    Part& part = parts[index];
    for (u64 i = 0; i < part.slots; ++i) {
        part.generations[i] = 0;
        fill(walk.base + (part.first_slot + i) * walk.stride, 0);
    }
}

}  // namespace

void memwalk() {
    walk.stride = boot::number("stride", kPage);
    walk.words = boot::number("bytes", std::min<u64>(64, walk.stride)) / 8;
    walk.passes = boot::number("passes", 1);
    walk.seed = boot::number("seed", 1);
    walk.write = boot::number("write", 1) != 0;
    walk.pattern = pattern_named(boot::option("pattern", "sequential"));
    const u64 processors = boot::number("cpus", 1);
    if (walk.stride < 8 || walk.stride % 8 != 0) fail("stride must be a multiple of 8");
    if (walk.words == 0 || walk.words * 8 > walk.stride) fail("bytes must be 8 to stride");
    if (processors == 0 || processors > smp::kMaxProcessors) fail("cpus out of range");
    smp::start(processors);

    Range area{};
    if (boot::option("size") == "all") {
        area = memory::take_all();
    } else {
        const u64 size = boot::number("size", u64{64} << 20);
        area.start = memory::take(size + size / walk.stride + kPage);
        area.end = area.start + size + size / walk.stride + kPage;
    }
    // The area's head holds the write counts, one byte a slot.
    const u64 slots = area.size() <= kPage ? 0 : (area.size() - kPage) / (walk.stride + 1);
    if (slots / processors < 2) fail("size is too small");
    walk.base = (area.start + slots + kPage - 1) & ~(kPage - 1);
    for (u64 i = 0; i < processors; ++i) {
        const u64 first = slots * i / processors;
        parts[i] = {.first_slot = first,
                    .slots = slots * (i + 1) / processors - first,
                    .generations = pointer<u8>(area.start + first)};
    }

    // Before any of it is touched, so that an onlooker knows what to look for (tests/memcrypt/guest.py).
    print("cpus=", processors, "\nbase=", Hex{walk.base}, "\nslots=", slots, "\nbytes=", slots * walk.stride,
          "\n");
    u64 start = cycles();
    smp::run(processors, fill_part);
    const u64 fill_cycles = cycles() - start;
    print("filled\n");
    smp::run(processors, run_part);

    u64 accesses = 0;
    u64 slowest = 0;
    u64 total = 0;
    for (const Part& part : std::span{parts}.first(processors)) {
        accesses += part.accesses;
        total += part.cycles;
        slowest = std::max(slowest, part.slowest);
    }
    print("fill_cycles=", fill_cycles, "\naccesses=", accesses, "\nslowest_cycles=", slowest, "\n");
    clock::report(total, accesses, "access");
}

}  // namespace holdfast::builtin::jobs
