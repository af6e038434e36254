// SPDX-License-Identifier: Apache-2.0
// Set-up in the wrong order and with wrong values (virtio 1.2 §3.1, §4.1.4.3).

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/hostile.hpp"
#include "guest_agent/builtin/random.hpp"

namespace holdfast::builtin::hostile {
namespace {

namespace common = virtio::common;

/// From reset to FEATURES_OK, the attacked queue selected and its ring addresses right.
void half_way(Victim& v) {
    v.device.reset();
    v.device.negotiate(0);
    v.device.set<u16>(common::QueueSelect, v.attacked);
    v.device.set<u16>(common::QueueSize, v.queue().size());
    v.device.set_wide(common::QueueDesc, v.queue().table_address());
    v.device.set_wide(common::QueueDriver, v.queue().avail_address());
    v.device.set_wide(common::QueueDevice, v.queue().used_address());
}

void go(Victim& v) {
    v.device.set<u16>(common::QueueEnable, 1);
    v.device.drive();
    v.describe(0, {v.scratch, 64, v.direction(), 0});
    v.offer(0);
    v.settle();
}

/// Each of the three ring addresses in turn.
void bad_rings(Victim& v, u64 address) {
    for (const u32 field : {common::QueueDesc, common::QueueDriver, common::QueueDevice}) {
        half_way(v);
        v.device.set_wide(field, address);
        go(v);
    }
}

void rings_past_ram(Victim* v) { bad_rings(*v, boot::memory_end()); }
void rings_straddle(Victim* v) { bad_rings(*v, boot::memory_end() - 16); }
void rings_wrap(Victim* v) { bad_rings(*v, ~u64{0} & ~u64{0xf}); }
void rings_unaligned(Victim* v) { bad_rings(*v, v->scratch + 1); }
void rings_in_mmio(Victim* v) { bad_rings(*v, acpi::tables().ecam); }
void rings_in_device(Victim* v) { bad_rings(*v, v->device.common_address() & ~u64{0xf}); }
void rings_at_zero(Victim* v) { bad_rings(*v, 0); }

void rings_are_one(Victim* v) {
    half_way(*v);
    v->device.set_wide(common::QueueDriver, v->queue().table_address());
    v->device.set_wide(common::QueueDevice, v->queue().table_address());
    go(*v);
}

void queue_sizes(Victim* v) {
    for (const u32 size : {0U, 1U, 3U, 257U, 0x8000U, 0xffffU}) {
        half_way(*v);
        v->device.set<u16>(common::QueueSize, static_cast<u16>(size));
        go(*v);
    }
}

void queue_not_there(Victim* v) {
    half_way(*v);
    for (const u16 queue : {u16{0x40}, u16{0x7fff}, u16{0xffff}}) {
        v->device.set<u16>(common::QueueSelect, queue);
        static_cast<void>(v->device.get<u16>(common::QueueSize));
        v->device.set<u16>(common::QueueSize, 16);
        v->device.set_wide(common::QueueDesc, v->scratch);
        v->device.set<u16>(common::QueueEnable, 1);
    }
    v->device.set<u16>(common::QueueSelect, v->attacked);
    go(*v);
}

void rings_move_after_enable(Victim* v) {
    v->device.set<u16>(common::QueueSelect, v->attacked);
    v->device.set_wide(common::QueueDesc, boot::memory_end());
    v->device.set<u16>(common::QueueSize, 8);
    v->device.set<u16>(common::QueueEnable, 0);
    v->device.set<u16>(common::QueueEnable, 1);
    v->device.set<u16>(common::QueueEnable, 0xffff);
    v->notify();
    v->settle();
    v->restart();
}

void notify_everywhere(Victim* v) {
    for (u32 number = 0; number < 0x10000; number += 97) {
        mmio_write<u16>(v->device.notify_address(v->attacked), static_cast<u16>(number));
    }
    for (u32 offset = 0; offset < 256; offset += 2) {
        mmio_write<u16>(v->device.notify_address(0) + offset, static_cast<u16>(offset));
    }
    mmio_write<u8>(v->device.notify_address(0), 1);
    mmio_write<u32>(v->device.notify_address(0), ~u32{0});
}

void notify_before_driver_ok(Victim* v) {
    half_way(*v);
    v->device.set<u16>(common::QueueEnable, 1);
    v->offer(0);
    v->settle();
    v->restart();
}

void driver_ok_first(Victim* v) {
    v->device.reset();
    v->device.set<u8>(common::DeviceStatus, virtio::status::DriverOk);
    v->offer(0);
    v->device.set<u8>(common::DeviceStatus, 0x0f);
    v->offer(0);
    v->settle();
    v->restart();
}

void status_all_ones(Victim* v) {
    v->device.set<u8>(common::DeviceStatus, 0xff);
    v->device.set<u8>(common::DeviceStatus, 0x80);
    v->device.set<u8>(common::DeviceStatus, 0x40);
    v->offer(0);
    v->settle();
    v->restart();
}

void all_features(Victim* v) {
    v->device.reset();
    v->device.set<u8>(common::DeviceStatus, 3);
    for (u32 select = 0; select < 4; ++select) {
        v->device.set<u32>(common::DriverFeatureSelect, select);
        v->device.set<u32>(common::DriverFeature, ~u32{0});
    }
    v->device.set<u32>(common::DeviceFeatureSelect, ~u32{0});
    static_cast<void>(v->device.get<u32>(common::DeviceFeature));
    v->device.set<u8>(common::DeviceStatus, 0x0b);
    v->device.set<u8>(common::DeviceStatus, 0x0f);
    v->restart();
}

void features_change_later(Victim* v) {
    v->device.set<u32>(common::DriverFeatureSelect, 0);
    v->device.set<u32>(common::DriverFeature, ~u32{0});
    v->device.set<u32>(common::DriverFeatureSelect, 1);
    v->device.set<u32>(common::DriverFeature, 0);
}

void reset_mid_flight(Victim* v) {
    for (u32 round = 0; round < 50; ++round) {
        std::memset(pointer<void>(v->scratch), 0, 64);
        v->describe(0, {v->scratch, 16, virtio::desc::Next, 1});
        v->describe(1, {v->scratch + kPage, 4096, virtio::desc::Next | virtio::desc::Write, 2});
        v->describe(2, {v->scratch + 16, 1, virtio::desc::Write, 0});
        for (u16 i = 0; i < 8; ++i) v->offer(0);
        v->restart();
    }
}

void vectors_out_of_range(Victim* v) {
    v->device.set<u16>(16, 0x7ff);  // config_msix_vector
    v->device.set<u16>(common::QueueSelect, v->attacked);
    v->device.set<u16>(26, 0xfffe);  // queue_msix_vector
}

/// Every register with every width at every offset, also across fields, read and written.
void registers_any_width(Victim* v) {
    Random random{4};
    for (u32 offset = 0; offset < common::Size + 8; ++offset) {
        const u64 at = v->device.common_address() + offset;
        static_cast<void>(mmio_read<u8>(at));
        static_cast<void>(mmio_read<u16>(at));
        static_cast<void>(mmio_read<u32>(at));
        static_cast<void>(mmio_read<u64>(at));
        mmio_write<u8>(at, static_cast<u8>(random.next()));
        mmio_write<u16>(at, static_cast<u16>(random.next()));
        mmio_write<u32>(at, static_cast<u32>(random.next()));
        mmio_write<u64>(at, random.next());
    }
    v->restart();
}

constexpr auto kVariants = std::to_array<Variant>({
    {"rings-past-ram", Scope::Setup, rings_past_ram},
    {"rings-straddle", Scope::Setup, rings_straddle},
    {"rings-wrap", Scope::Setup, rings_wrap},
    {"rings-unaligned", Scope::Setup, rings_unaligned},
    {"rings-in-mmio", Scope::Setup, rings_in_mmio},
    {"rings-in-device", Scope::Setup, rings_in_device},
    {"rings-at-zero", Scope::Setup, rings_at_zero},
    {"rings-are-one", Scope::Setup, rings_are_one},
    {"queue-sizes", Scope::Setup, queue_sizes},
    {"queue-not-there", Scope::Device, queue_not_there},
    {"rings-move-after-enable", Scope::Queue, rings_move_after_enable},
    {"notify-everywhere", Scope::Device, notify_everywhere},
    {"notify-before-driver-ok", Scope::Queue, notify_before_driver_ok},
    {"driver-ok-first", Scope::Device, driver_ok_first},
    {"status-all-ones", Scope::Device, status_all_ones},
    {"all-features", Scope::Device, all_features},
    {"features-change-later", Scope::Device, features_change_later},
    {"reset-mid-flight", Scope::Queue, reset_mid_flight},
    {"vectors-out-of-range", Scope::Device, vectors_out_of_range},
    {"registers-any-width", Scope::Device, registers_any_width},
});

}  // namespace

std::span<const Variant> transport_variants() { return kVariants; }

}  // namespace holdfast::builtin::hostile
