// SPDX-License-Identifier: Apache-2.0
// The device's side of a split virtqueue (Virtio 1.2 §2.7): takes chains, judges a copy of each
// descriptor, gives chains back, and says when the driver wants an interrupt. Left out: packed
// rings and in-order use.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "memcrypt/guest_memory.hpp"
#include "sys/result.hpp"

namespace holdfast::virtio {

/// Segments of one chain, indirect ones included: 64 of data and what a block request adds. Devices
/// tell their drivers; a longer chain is a guest fault. Nothing here is sized by the guest.
inline constexpr std::size_t kMaxSegments = 66;

struct Segment {
    GuestAddr address;
    std::uint32_t size = 0;
};

/// One request of the driver: copied out of the ring, every segment inside guest RAM.
class Chain {
public:
    [[nodiscard]] std::uint16_t head() const noexcept { return head_; }
    /// What the driver wrote for us.
    [[nodiscard]] std::span<const Segment> readable() const noexcept {
        return std::span{segments_}.first(readable_);
    }
    /// Where the driver wants our answer.
    [[nodiscard]] std::span<const Segment> writable() const noexcept {
        return std::span{segments_}.subspan(readable_, count_ - readable_);
    }
    [[nodiscard]] std::uint64_t readable_bytes() const noexcept { return readable_bytes_; }
    [[nodiscard]] std::uint64_t writable_bytes() const noexcept { return writable_bytes_; }

private:
    friend class Queue;
    std::uint16_t head_ = 0;
    std::uint16_t readable_ = 0;
    std::uint16_t count_ = 0;
    std::uint64_t readable_bytes_ = 0;
    std::uint64_t writable_bytes_ = 0;
    std::array<Segment, kMaxSegments> segments_;
};

/// Copies out.size() bytes that begin `offset` bytes into the segments; too short is a guest fault.
Result<void> gather(const memcrypt::GuestMemory& memory, std::span<const Segment> segments,
                    std::uint64_t offset, std::span<std::byte> out);
/// Copies `in` to `offset` bytes into the segments; too short is a guest fault.
Result<void> scatter(const memcrypt::GuestMemory& memory, std::span<const Segment> segments,
                     std::uint64_t offset, std::span<const std::byte> in);

struct QueueLayout {
    std::uint16_t size = 0;
    GuestAddr descriptors;
    GuestAddr available;
    GuestAddr used;
    bool indirect = false;    ///< F_INDIRECT_DESC was negotiated
    bool event_idx = false;   ///< F_EVENT_IDX was negotiated
    bool every_kick = false;  ///< the driver is never told to leave one out; not with event_idx
};

/// Device thread only. After a guest fault from any call the queue is not to be used again.
class Queue {
public:
    /// A queue that the driver left disabled: never has a chain.
    Queue() noexcept = default;
    /// Guest fault: a size that is no power of two or rings that are misaligned or outside RAM
    /// (§2.7).
    static Result<Queue> create(const memcrypt::GuestMemory& memory, const QueueLayout& layout);

    /// Whether the driver has made a chain available. One load of guest memory.
    [[nodiscard]] Result<bool> has_chain();
    /// Takes the next chain into `chain`, false when there is none. Fills caller's storage because
    /// a chain is a kilobyte and many are kept.
    [[nodiscard]] Result<bool> pop(Chain& chain);
    /// Gives a chain back with `written` bytes of its writable part filled. Shown by publish().
    void push(std::uint16_t head, std::uint32_t written) noexcept;
    /// Shows everything pushed to the driver; true if it wants an interrupt (§2.7.7, §2.7.10).
    [[nodiscard]] bool publish() noexcept;

    /// Whether the device has a use for chains now. While it has none (its output is blocked, or a
    /// receive buffer is only needed later) the driver's notifications are neither asked for nor
    /// waited for.
    void set_wanted(bool wanted) noexcept;
    [[nodiscard]] bool is_wanted() const noexcept { return wanted_; }
    /// Before sleeping: asks to be notified of the next chain; true if one is there already.
    [[nodiscard]] Result<bool> arm();

private:
    Queue(const memcrypt::GuestMemory& memory, const QueueLayout& layout) noexcept
        : memory_{&memory}, layout_{layout} {}
    Result<void> add_segment(Chain& chain, std::uint64_t address, std::uint32_t size, bool writable) const;
    Result<void> walk(Chain& chain, GuestAddr table, std::uint32_t entries, std::uint16_t first,
                      bool is_indirect) const;
    [[nodiscard]] std::uint64_t entry(std::uint16_t index) const noexcept {
        return index & (layout_.size - 1U);
    }
    void disarm() noexcept;

    const memcrypt::GuestMemory* memory_ = nullptr;
    QueueLayout layout_;
    std::uint16_t next_available_ = 0;
    std::uint16_t seen_available_ = 0;
    std::uint16_t used_ = 0;
    std::uint16_t published_ = 0;
    bool wanted_ = true;
    bool armed_ = true;  ///< a fresh ring (all zero) asks for notifications
    std::uint16_t armed_at_ = 0;
};

}  // namespace holdfast::virtio
