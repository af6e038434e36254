// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/virtio.hpp"

#include <algorithm>

#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

namespace holdfast::builtin::virtio {
namespace {

constexpr u16 kVendor = 0x1af4;
constexpr u16 kModern = 0x1040;

// §4.1.4: cfg_type, and offsets in struct virtio_pci_cap.
constexpr u8 kCapCommon = 1, kCapNotify = 2, kCapDevice = 4;
constexpr u32 kCapType = 3, kCapBar = 4, kCapOffset = 8, kCapMultiplier = 16;

constexpr u16 kNoInterrupt = 1;  // VIRTQ_AVAIL_F_NO_INTERRUPT
constexpr u16 kNoNotify = 1;     // VIRTQ_USED_F_NO_NOTIFY
constexpr u64 kPatienceCycles = u64{10} << 30;

// Ring fields: u16 flags, u16 idx, then the entries. The device reads and writes them at any
// moment.
u16 load_acquire(u64 address) { return __atomic_load_n(pointer<u16>(address), __ATOMIC_ACQUIRE); }
void store_release(u64 address, u16 value) {
    __atomic_store_n(pointer<u16>(address), value, __ATOMIC_RELEASE);
}

/// Transitional device ids, §4.1.2.1: for devices that speak both dialects.
u16 transitional_id(u16 device_type) {
    switch (device_type) {
        case type::Net: return 0x1000;
        case type::Block: return 0x1001;
        case type::Console: return 0x1003;
        case type::Entropy: return 0x1005;
        default: return 0xffff;
    }
}

// What __atomic_thread_fence() becomes, an empty operation with a lock prefix, orders nothing under QEMU's
// TCG with one processor; the device is a thread beside it all the same.
void full_barrier() { __asm__ volatile("mfence" ::: "memory"); }

}  // namespace

std::string_view type_name(u16 device_type) {
    switch (device_type) {
        case type::Net: return "net";
        case type::Block: return "blk";
        case type::Console: return "console";
        case type::Entropy: return "rng";
        case type::Socket: return "vsock";
        default: return "unknown";
    }
}

void Queue::clear(u16 size, bool event_idx) {
    if (memory_ == 0) memory_ = memory::take(3 * kPage);
    std::memset(pointer<void>(memory_), 0, 3 * kPage);
    size_ = size;
    event_idx_ = event_idx;
    free_head_ = 0;
    free_count_ = size;
    added_ = published_ = before_publish_ = seen_ = 0;
    for (u16 i = 0; i < size; ++i) at(i).next = static_cast<u16>(i + 1);
    store_release(avail_address(), kNoInterrupt);
}

volatile Descriptor& Queue::at(u16 index) const {
    return pointer<volatile Descriptor>(table_address())[index];
}

volatile u16& Queue::avail_ring(u16 slot) const { return pointer<volatile u16>(avail_address() + 4)[slot]; }

std::optional<u16> Queue::add(std::span<const Segment> segments) {
    if (segments.empty() || segments.size() > free_count_) return std::nullopt;
    const u16 head = free_head_;
    u16 index = head;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        volatile Descriptor& d = at(index);
        const u16 next = d.next;
        d.addr = segments[i].address;
        d.len = segments[i].length;
        const bool last = i + 1 == segments.size();
        d.flags = static_cast<u16>((last ? 0 : desc::Next) | (segments[i].device_writes ? desc::Write : 0));
        index = next;
    }
    free_head_ = index;
    free_count_ = static_cast<u16>(free_count_ - segments.size());
    avail_ring(added_ % size_) = head;
    ++added_;
    return head;
}

void Queue::publish() {
    // The entries must be visible before the index (§2.7.13.3.1); wants_notification() then reads
    // what the device wrote, which must not overtake the index.
    before_publish_ = published_;
    published_ = added_;
    store_release(avail_address() + 2, added_);
    full_barrier();
}

void Queue::set_avail_index(u16 index) {
    added_ = published_ = index;
    store_release(avail_address() + 2, index);
    full_barrier();
}

bool Queue::wants_notification() const {
    if (!event_idx_) return (load_acquire(used_address()) & kNoNotify) == 0;
    const u16 event = load_acquire(used_address() + 4 + 8 * u64{size_});  // avail_event, §2.7.10
    return static_cast<u16>(published_ - event - 1) < static_cast<u16>(published_ - before_publish_);
}

u16 Queue::used_index() const { return load_acquire(used_address() + 2); }

std::optional<Used> Queue::poll() {
    if (used_index() == seen_) return std::nullopt;
    const u64 entry = used_address() + 4 + 8 * u64{static_cast<u16>(seen_ % size_)};
    const auto id = load<u32>(entry);
    const auto length = load<u32>(entry + 4);
    ++seen_;
    // used_event one behind: the device never has a reason to interrupt.
    if (event_idx_) store_release(avail_address() + 4 + 2 * u64{size_}, static_cast<u16>(seen_ - 1));
    if (id >= size_) fail("device completed descriptor ", id, " of ", size_);
    const auto head = static_cast<u16>(id);
    u16 tail = head;
    u16 count = 1;
    while ((at(tail).flags & desc::Next) != 0 && count < size_) {
        tail = at(tail).next;
        ++count;
    }
    at(tail).next = free_head_;
    free_head_ = head;
    free_count_ = static_cast<u16>(free_count_ + count);
    return Used{head, length};
}

Device::Device(const pci::Device& function) : pci_{function} {
    for (u32 cap = 0; (cap = pci_.capability(pci::cap::Vendor, cap)) != 0;) {
        const auto kind = pci_.read<u8>(cap + kCapType);
        if (kind != kCapCommon && kind != kCapNotify && kind != kCapDevice) continue;
        const u64 address =
            pci_.bar(pci_.read<u8>(cap + kCapBar) % pci::kBars) + pci_.read<u32>(cap + kCapOffset);
        if (kind == kCapCommon) common_ = address;
        if (kind == kCapDevice) config_ = address;
        if (kind == kCapNotify) {
            notify_ = address;
            notify_multiplier_ = pci_.read<u32>(cap + kCapMultiplier);
        }
    }
    if (common_ == 0 || notify_ == 0) fail("virtio device without modern capabilities");
}

std::optional<Device> Device::find(u16 device_type, u32 which) {
    for (const auto& function : pci::devices()) {
        if (function.vendor != kVendor) continue;
        if (function.device != kModern + device_type && function.device != transitional_id(device_type)) {
            continue;
        }
        if (which-- != 0) continue;
        const Device device{function};
        device.reset();
        return device;
    }
    return std::nullopt;
}

Device Device::get(u16 device_type) {
    const auto device = find(device_type);
    if (!device) fail("no virtio ", type_name(device_type), " device");
    return *device;
}

void Device::reset() const {
    set<u8>(common::DeviceStatus, 0);
    const u64 start = cycles();
    while (status() != 0) {  // §4.1.4.3.2: done when it reads zero
        if (cycles() - start > kPatienceCycles) fail("device does not finish its reset");
        pause();
    }
}

u64 Device::negotiate(u64 wanted) {
    set<u8>(common::DeviceStatus, status::Acknowledge);
    set<u8>(common::DeviceStatus, status::Acknowledge | status::Driver);
    u64 offered = 0;
    for (u32 half = 0; half < 2; ++half) {
        set<u32>(common::DeviceFeatureSelect, half);
        offered |= u64{get<u32>(common::DeviceFeature)} << 32 * half;
    }
    features_ = offered & (wanted | feature::Version1);
    if ((features_ & feature::Version1) == 0) fail("device does not offer VERSION_1");
    for (u32 half = 0; half < 2; ++half) {
        set<u32>(common::DriverFeatureSelect, half);
        set<u32>(common::DriverFeature, static_cast<u32>(features_ >> 32 * half));
    }
    constexpr u8 kAgreed = status::Acknowledge | status::Driver | status::FeaturesOk;
    set<u8>(common::DeviceStatus, kAgreed);
    if (status() != kAgreed) fail("device refuses features ", Hex{features_});
    return features_;
}

void Device::set_wide(u32 offset, u64 value) const {
    set<u32>(offset, static_cast<u32>(value));
    set<u32>(offset + 4, static_cast<u32>(value >> 32));
}

void Device::enable_queue(u16 index, Queue& queue, u16 size) {
    set<u16>(common::QueueSelect, index);
    const auto most = get<u16>(common::QueueSize);
    if (most == 0) fail("device has no queue ", index);
    queue.clear(std::min({most, size, Queue::kMaxSize}), (features_ & feature::EventIdx) != 0);
    set<u16>(common::QueueSize, queue.size());
    set_wide(common::QueueDesc, queue.table_address());
    set_wide(common::QueueDriver, queue.avail_address());
    set_wide(common::QueueDevice, queue.used_address());
    notify_addresses_[index] = notify_ + u64{get<u16>(common::QueueNotifyOff)} * notify_multiplier_;
    set<u16>(common::QueueEnable, 1);
}

void Device::kick(u16 index, Queue& queue) const {
    queue.publish();
    if (queue.wants_notification()) notify(index);
}

std::optional<Used> Device::wait(Queue& queue) const {
    const u64 start = cycles();
    for (u32 turns = 1;; ++turns) {
        if (const auto used = queue.poll()) return used;
        pause();
        if (turns % (1U << 20) != 0) continue;  // asking the device is an exit
        if (needs_reset() || cycles() - start > kPatienceCycles) return std::nullopt;
    }
}

}  // namespace holdfast::builtin::virtio
