// SPDX-License-Identifier: Apache-2.0
// Descriptor chains and rings that no honest driver makes (virtio 1.2 §2.7).

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/hostile.hpp"
#include "guest_agent/builtin/random.hpp"
#include "guest_agent/builtin/smp.hpp"

namespace holdfast::builtin::hostile {
namespace {

using virtio::Segment;
namespace desc = virtio::desc;

/// A chain that starts as the device expects, with one bad buffer where the data goes.
void bad_buffer(Victim& v, u64 address, u32 length) {
    std::memset(pointer<void>(v.scratch), 0, 64);
    if (v.type == virtio::type::Block) {
        v.offer_chain(std::array<Segment, 3>{
            {{v.scratch, 16, false}, {address, length, true}, {v.scratch + 16, 1, true}}});
    } else {
        v.offer_chain(std::array<Segment, 1>{{{address, length, v.is_input()}}});
    }
}

void past_ram(Victim* v) {
    for (const u64 at : {boot::memory_end(), boot::memory_end() + kGib, u64{1} << 52}) {
        bad_buffer(*v, at, 512);
    }
}

void straddles_ram_end(Victim* v) { bad_buffer(*v, boot::memory_end() - 8, 512); }

void in_config_space(Victim* v) { bad_buffer(*v, acpi::tables().ecam + 0xff000, 512); }
void in_own_registers(Victim* v) { bad_buffer(*v, v->device.common_address(), 512); }
void in_local_apic(Victim* v) {
    // Bytes written there would be interrupt messages, INIT among them, on honest hardware.
    const bool only_read = !v->is_input() && v->type != virtio::type::Block;
    if (only_read) bad_buffer(*v, acpi::tables().local_apic, 512);
}

void wraps_around(Victim* v) { bad_buffer(*v, ~u64{0} - 100, 512); }
void length_zero(Victim* v) { bad_buffer(*v, v->scratch + kPage, 0); }
void length_4g(Victim* v) { bad_buffer(*v, v->scratch + kPage, ~u32{0}); }
void header_past_ram(Victim* v) {
    v->offer_chain(
        std::array<Segment, 2>{{{boot::memory_end(), 16, false}, {boot::memory_end() + 64, 1, true}}});
}

void loop_of_one(Victim* v) {
    v->describe(0, {v->scratch, 16, static_cast<u16>(desc::Next | v->direction()), 0});
    v->offer(0);
    v->settle();
}

void loop_of_two(Victim* v) {
    v->describe(0, {v->scratch, 16, desc::Next, 1});
    v->describe(1, {v->scratch, 16, static_cast<u16>(desc::Next | v->direction()), 0});
    v->offer(0);
    v->settle();
}

void chain_of_all(Victim* v) {
    const u16 size = v->queue().size();
    for (u16 i = 0; i < size; ++i) {
        v->describe(i, {v->scratch, 1, static_cast<u16>(desc::Next | v->direction()),
                        static_cast<u16>((i + 1) % size)});
    }
    v->offer(0);
    v->settle();
}

void next_out_of_range(Victim* v) {
    for (const u16 next : {v->queue().size(), u16{0xffff}}) {
        v->describe(0, {v->scratch, 16, static_cast<u16>(desc::Next | v->direction()), next});
        v->offer(0);
        v->settle();
    }
}

void head_out_of_range(Victim* v) {
    v->offer(v->queue().size());
    v->offer(0xffff);
    v->settle();
}

void avail_index_jumps(Victim* v) {
    v->queue().set_avail_index(static_cast<u16>(v->queue().avail_index() + v->queue().size() + 1));
    v->notify();
    v->settle();
}

void avail_index_back(Victim* v) {
    v->queue().set_avail_index(static_cast<u16>(v->queue().avail_index() - 1));
    v->notify();
    v->settle();
}

void same_head_again(Victim* v) {
    v->describe(0, {v->scratch, 64, v->direction(), 0});
    for (u16 i = 0; i < v->queue().size(); ++i) {
        v->queue().avail_ring(i) = 0;
    }
    v->queue().set_avail_index(static_cast<u16>(v->queue().avail_index() + v->queue().size()));
    v->notify();
    v->settle();
}

void readable_after_writable(Victim* v) {
    v->offer_chain(std::array<Segment, 3>{
        {{v->scratch, 16, true}, {v->scratch + 64, 16, false}, {v->scratch + 128, 16, true}}});
}

void wrong_direction(Victim* v) {
    v->offer_chain(std::array<Segment, 1>{{{v->scratch, 64, !v->is_input()}}});
}

void all_flags(Victim* v) {
    v->describe(0, {v->scratch, 64, 0xffff, 1});
    v->offer(0);
    v->settle();
}

// INDIRECT_DESC is not negotiated here, so each of these is a fault before it is anything else.
void indirect(Victim& v, u32 length, virtio::Descriptor inner) {
    auto* table = pointer<virtio::Descriptor>(v.scratch);
    for (u16 i = 0; i < 4; ++i) table[i] = inner;
    v.describe(0, {v.scratch, length, desc::Indirect, 0});
    v.offer(0);
    v.settle();
}

void indirect_plain(Victim* v) { indirect(*v, 16, {v->scratch + 256, 16, v->direction(), 0}); }
void indirect_nested(Victim* v) { indirect(*v, 32, {v->scratch, 32, desc::Indirect, 0}); }
void indirect_odd_length(Victim* v) { indirect(*v, 17, {v->scratch + 256, 16, v->direction(), 0}); }
void indirect_empty(Victim* v) { indirect(*v, 0, {v->scratch + 256, 16, v->direction(), 0}); }
void indirect_huge(Victim* v) {
    indirect(*v, 0xfffffff0, {v->scratch + 256, 16, static_cast<u16>(desc::Next | v->direction()), 1});
}
void indirect_loop(Victim* v) {
    indirect(*v, 64, {v->scratch + 256, 16, static_cast<u16>(desc::Next | v->direction()), 0});
}
void indirect_with_next(Victim* v) {
    v->describe(0, {v->scratch, 16, desc::Indirect | desc::Next, 1});
    v->describe(1, {v->scratch, 16, v->direction(), 0});
    v->offer(0);
    v->settle();
}

/// Buffers that are the queue itself: the device's own writes change what it reads next.
void buffers_are_rings(Victim* v) {
    for (const u64 ring :
         {v->queue().table_address(), v->queue().avail_address(), v->queue().used_address()}) {
        bad_buffer(*v, ring, 512);
        if (v->device.needs_reset()) return;
    }
}

// Another processor rewrites what the device is reading. Values stay within scratch memory or
// point nowhere, so that whatever the device does with them harms only this test's own memory.
struct Race {
    Victim* victim;
    bool also_indices;
    bool stop;
};
Race race;

void scribble(u64 seed) {
    Random random{seed + 7};
    Victim& v = *race.victim;
    while (!__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE)) {
        const auto index = static_cast<u16>(random.below(4));
        volatile virtio::Descriptor& d = v.queue().at(index);
        switch (random.below(race.also_indices ? 6 : 4)) {
            case 0: d.addr = v.scratch + random.below(8) * 512; break;
            case 1: d.addr = random.below(2) == 0 ? boot::memory_end() : ~u64{0} - 8; break;
            case 2: d.len = static_cast<u32>(random.below(3) == 0 ? ~u32{0} : random.below(1024)); break;
            case 3:
                d.flags = static_cast<u16>(random.below(8));
                d.next = static_cast<u16>(random.below(8));
                break;
            case 4: v.queue().avail_ring(index) = static_cast<u16>(random.next()); break;
            default:
                __atomic_store_n(pointer<u16>(v.queue().avail_address() + 2), static_cast<u16>(random.next()),
                                 __ATOMIC_RELEASE);
        }
    }
}

void run_race(Victim& v, bool also_indices) {
    if (acpi::tables().processors < 2) return;
    smp::start(2);
    race = {.victim = &v, .also_indices = also_indices, .stop = false};
    for (u32 round = 0; round < 8; ++round) {
        __atomic_store_n(&race.stop, false, __ATOMIC_RELEASE);
        smp::begin(1, scribble);
        for (u32 i = 0; i < 200; ++i) v.offer(static_cast<u16>(i % 4));
        v.settle();
        __atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
        smp::wait(1);
        v.restart();
    }
}

void race_descriptors(Victim* v) { run_race(*v, false); }
void race_indices(Victim* v) { run_race(*v, true); }

constexpr auto kVariants = std::to_array<Variant>({
    {"past-ram", Scope::Queue, past_ram},
    {"straddles-ram-end", Scope::Queue, straddles_ram_end},
    {"in-config-space", Scope::Queue, in_config_space},
    {"in-own-registers", Scope::Queue, in_own_registers},
    {"in-local-apic", Scope::Queue, in_local_apic},
    {"wraps-around", Scope::Queue, wraps_around},
    {"length-zero", Scope::Queue, length_zero},
    {"length-4g", Scope::Queue, length_4g},
    {"header-past-ram", Scope::Queue, header_past_ram},
    {"loop-of-one", Scope::Queue, loop_of_one},
    {"loop-of-two", Scope::Queue, loop_of_two},
    {"chain-of-all", Scope::Queue, chain_of_all},
    {"next-out-of-range", Scope::Queue, next_out_of_range},
    {"head-out-of-range", Scope::Queue, head_out_of_range},
    {"avail-index-jumps", Scope::Queue, avail_index_jumps},
    {"avail-index-back", Scope::Queue, avail_index_back},
    {"same-head-again", Scope::Queue, same_head_again},
    {"readable-after-writable", Scope::Queue, readable_after_writable},
    {"wrong-direction", Scope::Queue, wrong_direction},
    {"all-flags", Scope::Queue, all_flags},
    {"indirect-plain", Scope::Queue, indirect_plain},
    {"indirect-nested", Scope::Queue, indirect_nested},
    {"indirect-odd-length", Scope::Queue, indirect_odd_length},
    {"indirect-empty", Scope::Queue, indirect_empty},
    {"indirect-huge", Scope::Queue, indirect_huge},
    {"indirect-loop", Scope::Queue, indirect_loop},
    {"indirect-with-next", Scope::Queue, indirect_with_next},
    {"buffers-are-rings", Scope::Queue, buffers_are_rings},
    {"race-descriptors", Scope::Queue, race_descriptors},
    {"race-indices", Scope::Queue, race_indices},
});

}  // namespace

std::span<const Variant> queue_variants() { return kVariants; }

}  // namespace holdfast::builtin::hostile
