// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/smp.hpp"

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

extern "C" {
extern const char ap_trampoline[];
extern const char ap_trampoline_end[];
/// The frame the next processor to start takes to ring 3; entry.S lays it out.
extern holdfast::builtin::u64 ap_frame[5];
[[noreturn]] void ap_main(holdfast::builtin::u64 unused);
}

namespace holdfast::builtin::smp {
namespace {

using Work = void (*)(u64);

constexpr u64 kApicId = 0x20, kSpurious = 0xf0, kCommandLow = 0x300, kCommandHigh = 0x310;
constexpr u32 kInit = 0x4500, kStartUp = 0x4600;  // delivery mode, level asserted
constexpr u32 kApicEnable = 0x1ff;
constexpr u64 kStack = 16384;
constexpr u64 kFrameRsp = 3;
constexpr u64 kPatienceCycles = u64{4} << 30;  // a second or two

struct alignas(64) Processor {
    Work work;
};
Processor processors[kMaxProcessors];
u64 running = 1;

Work load_work(u64 index) { return __atomic_load_n(&processors[index].work, __ATOMIC_ACQUIRE); }

void store_work(u64 index, Work work) { __atomic_store_n(&processors[index].work, work, __ATOMIC_RELEASE); }

void send(u64 apic, u32 target, u32 command) {
    mmio_write<u32>(apic + kCommandHigh, target << 24);
    mmio_write<u32>(apic + kCommandLow, command);
}

bool is_up(u64 index) { return __atomic_load_n(&running, __ATOMIC_ACQUIRE) > index; }

bool wait_until_up(u64 index) {
    for (const u64 start = cycles(); cycles() - start < kPatienceCycles;) {
        if (is_up(index)) return true;
        pause();
    }
    return false;
}

void bring_up(u64 apic, u32 target, u64 page) {
    const u64 index = running;
    ap_frame[kFrameRsp] = memory::take(kStack) + kStack - 8;
    send(apic, target, kInit);
    const auto vector = static_cast<u32>(page / kPage);
    for (int tries = 0; tries < 2; ++tries) {
        send(apic, target, kStartUp | vector);
        if (wait_until_up(index)) return;
    }
    fail("processor with APIC id ", target, " does not start");
}

}  // namespace

void start(u64 count) {
    const auto& tables = acpi::tables();
    if (count <= running) return;
    if (count > tables.processors || count > kMaxProcessors) {
        fail("this machine has ", tables.processors, " processors, not ", count);
    }
    const u64 page = memory::low_page();
    std::memcpy(pointer<void>(page), ap_trampoline,
                address_of(ap_trampoline_end) - address_of(ap_trampoline));
    const u64 apic = tables.local_apic;
    mmio_write<u32>(apic + kSpurious, kApicEnable);
    const u32 self = mmio_read<u32>(apic + kApicId) >> 24;
    for (u64 i = 0; i < tables.processors && running < count; ++i) {
        if (tables.apic_ids[i] != self) bring_up(apic, tables.apic_ids[i], page);
    }
}

void begin(u64 index, Work work) { store_work(index, work); }

void wait(u64 index) {
    while (load_work(index) != nullptr) pause();
}

void run(u64 count, Work work) {
    for (u64 i = 1; i < count; ++i) begin(i, work);
    work(0);
    for (u64 i = 1; i < count; ++i) wait(i);
}

}  // namespace holdfast::builtin::smp

void ap_main(holdfast::builtin::u64 /*unused*/) {
    using namespace holdfast::builtin;
    const u64 index = __atomic_fetch_add(&smp::running, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        while (smp::load_work(index) == nullptr) pause();
        smp::load_work(index)(index);
        smp::store_work(index, nullptr);
    }
}
