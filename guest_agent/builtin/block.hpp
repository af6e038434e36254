// SPDX-License-Identifier: Apache-2.0
// A virtio block device (virtio 1.2 §5.2), one queue, several requests at a time.
#pragma once

#include "guest_agent/builtin/virtio.hpp"

namespace holdfast::builtin {

namespace blk {  // §5.2.3, §5.2.6
inline constexpr u64 ReadOnly = u64{1} << 5, Flush = u64{1} << 9;
inline constexpr u32 In = 0, Out = 1, FlushRequest = 4, GetId = 8;
inline constexpr u8 Ok = 0, IoError = 1, Unsupported = 2;
inline constexpr u64 kSector = 512;
}  // namespace blk

class BlockDevice {
public:
    struct Header {
        u32 type, reserved;
        u64 sector;
    };
    static_assert(sizeof(Header) == 16);

    /// One request's memory. `data` has the size given to the constructor.
    struct Slot {
        u64 header, status, data;
        u16 head;
        u64 tag;  // the job's own note
    };
    static constexpr u32 kMaxDepth = 64;

    /// Finds the device, takes memory for `depth` requests of up to `bytes`, and starts the device.
    BlockDevice(u32 depth, u64 bytes);
    /// Reset, negotiate, drive: as after boot.
    void restart();

    /// Puts a request into slot `index` on the queue; kick() shows it to the device.
    void submit(u32 index, u32 request, u64 sector, u32 length);
    void kick() { device_.kick(0, queue_); }
    /// The slot that completed next; fails the job if none does.
    u32 complete();
    /// A whole request in slot 0. Fails the job unless it completes; returns the status byte.
    u8 execute(u32 request, u64 sector, u32 length);

    [[nodiscard]] u64 capacity() const { return capacity_ * blk::kSector; }
    [[nodiscard]] Slot& slot(u32 index) { return slots_[index]; }
    [[nodiscard]] u8 status(u32 index) const { return load<u8>(slots_[index].status); }
    [[nodiscard]] virtio::Device& device() { return device_; }
    [[nodiscard]] virtio::Queue& queue() { return queue_; }

private:
    virtio::Device device_;
    virtio::Queue queue_;
    u64 capacity_ = 0;  // sectors
    u32 depth_;
    std::array<Slot, kMaxDepth> slots_{};
};

}  // namespace holdfast::builtin
