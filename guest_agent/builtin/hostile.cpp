// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/hostile.hpp"

#include <algorithm>

#include "guest_agent/builtin/block.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/vsock.hpp"

namespace holdfast::builtin::hostile {
namespace {

using virtio::Segment;

constexpr u64 kSettleCycles = 20'000'000;    // some 10 ms
constexpr u64 kAnswerCycles = u64{4} << 30;  // more than a second
constexpr u32 kNetHeader = 12;

struct Kind {
    u16 type, queues, working;
};
// The working queue is the one on which a request completes without anything from outside.
constexpr auto kKinds = std::to_array<Kind>({
    {virtio::type::Block, 1, 0},
    {virtio::type::Entropy, 1, 0},
    {virtio::type::Console, 2, 1},
    {virtio::type::Net, 2, 1},
    {virtio::type::Socket, 3, 1},
});

const Kind& kind_of(u16 device_type) {
    const auto* found = std::ranges::find(kKinds, device_type, &Kind::type);
    if (found == kKinds.end()) fail("unknown virtio type ", device_type);
    return *found;
}

/// A request that every working device completes; its last bytes lie at the end of `scratch`.
u16 harmless(u16 device_type, u64 at, std::array<Segment, 3>& segments) {
    std::memset(pointer<void>(at), 0, 1024);
    switch (device_type) {
        case virtio::type::Block:  // read sector 0
            segments = {
                {{at, sizeof(BlockDevice::Header), false}, {at + 512, 512, true}, {at + 16, 1, true}}};
            return 3;
        case virtio::type::Entropy: segments[0] = {at, 8, true}; return 1;
        case virtio::type::Console:
            *pointer<char>(at) = '.';
            segments[0] = {at, 1, false};
            return 1;
        case virtio::type::Net:  // a broadcast of an experimental ethertype
            std::memset(pointer<void>(at + kNetHeader), 0xff, 12);
            *pointer<u16>(at + kNetHeader + 12) = 0xb588;
            segments[0] = {at, kNetHeader + 60, false};
            return 1;
        default:  // a reset of a connection that does not exist
            *pointer<vsock::Header>(at) = {.src_cid = 0,
                                           .dst_cid = vsock::kHost,
                                           .src_port = 1,
                                           .dst_port = 1,
                                           .type = vsock::kStream,
                                           .op = vsock::op::Rst};
            segments[0] = {at, sizeof(vsock::Header), false};
            return 1;
    }
}

}  // namespace

Victim::Victim(const virtio::Device& d, u16 device_type, u16 attacked_queue)
    : device{d},
      type{device_type},
      attacked{attacked_queue},
      working_{kind_of(device_type).working},
      queue_count_{kind_of(device_type).queues} {
    static const u64 shared_scratch = memory::take(kScratch);
    static std::array<virtio::Queue, virtio::Device::kQueues> shared_queues = [] {
        std::array<virtio::Queue, virtio::Device::kQueues> queues{};
        for (auto& queue : queues) queue.clear(1, false);
        return queues;
    }();
    scratch = shared_scratch;
    queues_ = shared_queues;
    restart();
}

bool Victim::is_input() const { return type == virtio::type::Entropy || attacked != working_; }

void Victim::restart() {
    device.reset();
    device.function().enable();
    device.negotiate(0);
    for (u16 i = 0; i < queue_count_; ++i) device.enable_queue(i, queues_[i]);
    if (queue().size() < 8) fail("queues of fewer than 8 entries are not attacked");
    device.drive();
}

void Victim::offer_on(u16 index, u16 head) {
    virtio::Queue& q = queues_[index];
    q.avail_ring(static_cast<u16>(q.avail_index() % q.size())) = head;
    q.set_avail_index(static_cast<u16>(q.avail_index() + 1));
    device.notify(index);
}

bool Victim::works() {
    virtio::Queue& q = queues_[working_];
    std::array<Segment, 3> segments{};
    const u16 count = harmless(type, scratch + kScratch - kPage, segments);
    const auto head = static_cast<u16>(q.size() - 3);
    for (u16 i = 0; i < count; ++i) {
        volatile virtio::Descriptor& d = q.at(static_cast<u16>(head + i));
        d.addr = segments[i].address;
        d.len = segments[i].length;
        d.flags = static_cast<u16>((i + 1 < count ? virtio::desc::Next : 0) |
                                   (segments[i].device_writes ? virtio::desc::Write : 0));
        d.next = static_cast<u16>(head + i + 1);
    }
    u16 seen = q.used_index();
    offer_on(working_, head);
    const u64 start = cycles();
    for (u32 turns = 1;; ++turns) {
        while (seen != q.used_index()) {
            const u64 entry = q.used_address() + 4 + 8 * u64{static_cast<u16>(seen % q.size())};
            if (load<u32>(entry) == head) return true;
            ++seen;
        }
        pause();
        if (turns % (1U << 16) == 0 && cycles() - start > kAnswerCycles) return false;
    }
}

void Victim::describe(u16 index, virtio::Descriptor d) {
    volatile virtio::Descriptor& at = queue().at(index);
    at.addr = d.addr;
    at.len = d.len;
    at.flags = d.flags;
    at.next = d.next;
}

void Victim::offer(u16 head) { offer_on(attacked, head); }

void Victim::offer_chain(std::span<const Segment> segments) {
    for (u16 i = 0; i < segments.size(); ++i) {
        const bool last = i + 1U == segments.size();
        describe(i, {.addr = segments[i].address,
                     .len = segments[i].length,
                     .flags = static_cast<u16>((last ? 0 : virtio::desc::Next) |
                                               (segments[i].device_writes ? virtio::desc::Write : 0)),
                     .next = static_cast<u16>(i + 1)});
    }
    offer(0);
    settle();
}

void Victim::settle() const {
    for (const u64 start = cycles(); cycles() - start < kSettleCycles;) pause();
}

namespace {

/// `except=` names variants to leave out, with commas between.
bool is_excepted(std::string_view name) {
    std::string_view rest = boot::option("except", "");
    while (!rest.empty()) {
        const std::string_view one = rest.substr(0, rest.find(','));
        if (one == name) return true;
        rest.remove_prefix(std::min(one.size() + 1, rest.size()));
    }
    return false;
}

struct Tally {
    u64 survived, needs_reset, stuck;
};

bool concerns(Scope scope, u16 device_type) {
    switch (scope) {
        case Scope::Queue:
        case Scope::Setup:
        case Scope::Device: return true;
        case Scope::Block: return device_type == virtio::type::Block;
        case Scope::Net: return device_type == virtio::type::Net;
        case Scope::Socket: return device_type == virtio::type::Socket;
        case Scope::Console: return device_type == virtio::type::Console;
        case Scope::Machine: return false;
    }
    return false;
}

void judge(Victim& victim, Scope scope, Tally& tally) {
    if (victim.device.needs_reset()) {
        ++tally.needs_reset;
        print("needs-reset\n");
    } else if (scope == Scope::Setup || victim.waits_for_outside() || victim.works()) {
        ++tally.survived;
        print("survived\n");
    } else if (victim.device.needs_reset()) {
        ++tally.needs_reset;
        print("needs-reset\n");
    } else {
        ++tally.stuck;
        print("stuck\n");
    }
    victim.restart();
    if (!victim.works()) fail("the device does not work again after its reset");
}

void attack(const Variant& variant, const Kind& kind, const virtio::Device& device, Tally& tally) {
    for (u16 queue = 0; queue < kind.queues; ++queue) {
        const bool every_queue = variant.scope == Scope::Queue || variant.scope == Scope::Setup;
        if (!every_queue && queue != kind.working) continue;
        Victim victim{device, kind.type, queue};
        print("hostile ", virtio::type_name(kind.type));
        if (every_queue) print(queue);
        print(" ", variant.name, ": ");
        variant.run(&victim);
        judge(victim, variant.scope, tally);
    }
}

void run(const Variant& variant, Tally& tally) {
    if (variant.scope == Scope::Machine) {
        print("hostile ", variant.name, ": ");
        variant.run(nullptr);
        print("survived\n");
        ++tally.survived;
        return;
    }
    const auto wanted = boot::option("device", "all");
    for (const Kind& kind : kKinds) {
        if (!concerns(variant.scope, kind.type)) continue;
        if (wanted != "all" && wanted != virtio::type_name(kind.type)) continue;
        if (const auto device = virtio::Device::find(kind.type)) attack(variant, kind, *device, tally);
    }
}

/// False if there is no variant of that name.
bool run_all(std::string_view wanted, Tally& tally) {
    bool is_known = false;
    for (const auto variants : {queue_variants(), transport_variants(), request_variants(), pci_variants()}) {
        for (const Variant& variant : variants) {
            if (wanted != "all" && wanted != variant.name) continue;
            is_known = true;
            if (!is_excepted(variant.name)) run(variant, tally);
        }
    }
    return is_known;
}

}  // namespace
}  // namespace holdfast::builtin::hostile

namespace holdfast::builtin::jobs {

void hostile() {
    using namespace builtin::hostile;
    const auto wanted = boot::option("variant", "all");
    const u64 rounds = boot::number("rounds", 1);
    Tally tally{};
    for (u64 round = 1; round <= rounds; ++round) {
        if (!run_all(wanted, tally)) fail("there is no variant ", wanted);
        print("round=", round, "\n");
    }
    print("survived=", tally.survived, "\nneeds_reset=", tally.needs_reset, "\nstuck=", tally.stuck, "\n");
    if (tally.survived + tally.needs_reset == 0) fail("no such device");
    if (tally.stuck != 0) fail("a device neither works nor asks for reset");
}

}  // namespace holdfast::builtin::jobs
