// SPDX-License-Identifier: Apache-2.0
// The driver's side of virtio 1.2 over PCI: modern transport (§4.1) and split virtqueues (§2.7),
// polled. Left out: legacy devices, packed rings, interrupts. What a job needs in order to
// misbehave is public.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>

#include "guest_agent/builtin/machine.hpp"
#include "guest_agent/builtin/pci.hpp"

namespace holdfast::builtin::virtio {

namespace type {  // §5
inline constexpr u16 Net = 1, Block = 2, Console = 3, Entropy = 4, Socket = 19;
}
namespace status {  // §2.1
inline constexpr u8 Acknowledge = 1, Driver = 2, DriverOk = 4, FeaturesOk = 8, NeedsReset = 64;
}
namespace feature {  // §6
inline constexpr u64 IndirectDesc = u64{1} << 28, EventIdx = u64{1} << 29, Version1 = u64{1} << 32;
}
namespace common {  // offsets in virtio_pci_common_cfg, §4.1.4.3
inline constexpr u32 DeviceFeatureSelect = 0, DeviceFeature = 4, DriverFeatureSelect = 8, DriverFeature = 12,
                     NumQueues = 18, DeviceStatus = 20, QueueSelect = 22, QueueSize = 24, QueueEnable = 28,
                     QueueNotifyOff = 30, QueueDesc = 32, QueueDriver = 40, QueueDevice = 48, Size = 56;
}
namespace desc {  // §2.7.5
inline constexpr u16 Next = 1, Write = 2, Indirect = 4;
}

struct Descriptor {
    u64 addr;
    u32 len;
    u16 flags;
    u16 next;
};
static_assert(sizeof(Descriptor) == 16);

struct Segment {
    u64 address;
    u32 length;
    bool device_writes;
};

struct Used {
    u16 head;
    u32 length;
};

/// One split virtqueue in guest memory.
class Queue {
public:
    static constexpr u16 kMaxSize = 256;

    /// Empty, with this many entries; memory is taken once and used again.
    void clear(u16 size, bool event_idx);

    /// Chains free descriptors; the device sees them after publish(). Nothing if there are too few.
    std::optional<u16> add(std::span<const Segment> segments);
    void publish();
    /// Whether the device asked to be told about what publish() just showed.
    [[nodiscard]] bool wants_notification() const;
    /// One completion, whose descriptors are free again.
    std::optional<Used> poll();

    [[nodiscard]] u16 size() const { return size_; }
    [[nodiscard]] u64 table_address() const { return memory_; }
    [[nodiscard]] u64 avail_address() const { return memory_ + kPage; }
    [[nodiscard]] u64 used_address() const { return memory_ + 2 * kPage; }

    /// The raw rings, for misuse.
    [[nodiscard]] volatile Descriptor& at(u16 index) const;
    [[nodiscard]] volatile u16& avail_ring(u16 slot) const;
    [[nodiscard]] u16 avail_index() const { return added_; }
    void set_avail_index(u16 index);
    [[nodiscard]] u16 used_index() const;

private:
    u64 memory_ = 0;  // table, available ring and used ring, a page each
    u16 size_ = 0;
    u16 free_head_ = 0;
    u16 free_count_ = 0;
    u16 added_ = 0;  // available index, including what is not published yet
    u16 published_ = 0;
    u16 before_publish_ = 0;
    u16 seen_ = 0;  // used index
    bool event_idx_ = false;
};

class Device {
public:
    static constexpr u16 kQueues = 4;  // as many as a job drives

    /// The n-th function of this virtio type, reset; nothing if there is none.
    static std::optional<Device> find(u16 device_type, u32 which = 0);
    /// As find(), but the job fails without it.
    static Device get(u16 device_type);

    void reset() const;
    /// Up to FEATURES_OK, with those of `wanted` that are offered, and VERSION_1. Fails the job if
    /// the device refuses. Returns what was agreed.
    u64 negotiate(u64 wanted);
    /// Gives queue `index` its memory, at most `size` entries, and enables it.
    void enable_queue(u16 index, Queue& queue, u16 size = Queue::kMaxSize);
    void drive() const { set<u8>(common::DeviceStatus, kDriving); }

    void notify(u16 index) const { mmio_write<u16>(notify_addresses_[index], index); }
    /// Makes added chains visible and tells the device if it wants to know.
    void kick(u16 index, Queue& queue) const;
    /// One completion, or nothing if the device asks for reset or takes longer than a few seconds.
    std::optional<Used> wait(Queue& queue) const;

    [[nodiscard]] u8 status() const { return get<u8>(common::DeviceStatus); }
    [[nodiscard]] bool needs_reset() const { return (status() & status::NeedsReset) != 0; }
    [[nodiscard]] u64 features() const { return features_; }
    [[nodiscard]] u64 notify_address(u16 index) const { return notify_addresses_[index]; }
    [[nodiscard]] u64 common_address() const { return common_; }
    [[nodiscard]] u64 config_address() const { return config_; }
    [[nodiscard]] const pci::Device& function() const { return pci_; }

    template <typename T>
    [[nodiscard]] T get(u32 offset) const {
        return mmio_read<T>(common_ + offset);
    }
    template <typename T>
    void set(u32 offset, T value) const {
        mmio_write<T>(common_ + offset, value);
    }
    /// A 64-bit field in two halves, which every implementation has to take.
    void set_wide(u32 offset, u64 value) const;
    template <typename T>
    [[nodiscard]] T config(u32 offset) const {
        return mmio_read<T>(config_ + offset);
    }

private:
    static constexpr u8 kDriving =
        status::Acknowledge | status::Driver | status::FeaturesOk | status::DriverOk;

    explicit Device(const pci::Device& function);

    pci::Device pci_;
    u64 common_ = 0;
    u64 config_ = 0;
    u64 notify_ = 0;
    u32 notify_multiplier_ = 0;
    std::array<u64, kQueues> notify_addresses_{};  // of enabled queues
    u64 features_ = 0;
};

std::string_view type_name(u16 device_type);

}  // namespace holdfast::builtin::virtio
