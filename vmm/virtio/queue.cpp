// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/queue.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <utility>

#include "vmm/virtio/spec.hpp"

namespace holdfast::virtio {

namespace {

/// Calls copy(address, size, done) for the pieces of [offset, offset + size) of the segments.
template <typename Copy>
Result<void> for_pieces(std::span<const Segment> segments, std::uint64_t offset, std::size_t size,
                        Copy copy) {
    std::size_t done = 0;
    for (const Segment& segment : segments) {
        if (done == size) break;
        if (offset >= segment.size) {
            offset -= segment.size;
            continue;
        }
        const auto piece = std::min<std::size_t>(segment.size - offset, size - done);
        const GuestAddr at = HF_TRY(segment.address.plus(offset));
        HF_TRY(copy(at, piece, done));
        done += piece;
        offset = 0;
    }
    if (done != size) return guest_fault("descriptor chain too short");
    return {};
}

}  // namespace

Result<void> gather(const memcrypt::GuestMemory& memory, std::span<const Segment> segments,
                    std::uint64_t offset, std::span<std::byte> out) {
    return for_pieces(segments, offset, out.size(), [&](GuestAddr at, std::size_t size, std::size_t done) {
        return memory.read(at, out.subspan(done, size));
    });
}

Result<void> scatter(const memcrypt::GuestMemory& memory, std::span<const Segment> segments,
                     std::uint64_t offset, std::span<const std::byte> in) {
    return for_pieces(segments, offset, in.size(), [&](GuestAddr at, std::size_t size, std::size_t done) {
        return memory.write(at, in.subspan(done, size));
    });
}

Result<Queue> Queue::create(const memcrypt::GuestMemory& memory, const QueueLayout& layout) {
    if (!std::has_single_bit(layout.size) || layout.size > spec::MAX_QUEUE_SIZE) {
        return guest_fault("queue size");
    }
    // §2.7: alignments; sizes with the event index behind each ring.
    const bool aligned = layout.descriptors.value() % 16 == 0 && layout.available.value() % 2 == 0 &&
                         layout.used.value() % 4 == 0;
    const bool in_ram = memory.contains(layout.descriptors, sizeof(spec::Desc) * layout.size) &&
                        memory.contains(layout.available, 6 + 2ULL * layout.size) &&
                        memory.contains(layout.used, 6 + sizeof(spec::UsedElem) * layout.size);
    if (!aligned || !in_ram) return guest_fault("queue address");
    return Queue{memory, layout};
}

Result<bool> Queue::has_chain() {
    if (next_available_ != seen_available_) return true;
    if (layout_.size == 0) return false;
    const GuestAddr at{layout_.available.value() + spec::RING_IDX};
    seen_available_ = HF_TRY(memory_->load_acquire(at));
    const auto ahead = static_cast<std::uint16_t>(seen_available_ - next_available_);
    if (ahead > layout_.size) return guest_fault("available index jumped");
    return ahead != 0;
}

Result<void> Queue::add_segment(Chain& chain, std::uint64_t address, std::uint32_t size,
                                bool writable) const {
    // §2.7.4.2: everything readable comes first.
    if (!writable && chain.count_ != chain.readable_)
        return guest_fault("readable descriptor after a writable one");
    if (chain.count_ == kMaxSegments) return guest_fault("descriptor chain too long");
    const GuestAddr start{address};
    // Zero bytes are nowhere: such a descriptor counts for the bound, its address does not matter.
    if (size != 0 && !memory_->contains(start, size)) return guest_fault("descriptor outside guest RAM");
    chain.segments_[chain.count_++] = {size == 0 ? GuestAddr{} : start, size};
    if (writable) {
        chain.writable_bytes_ += size;
    } else {
        chain.readable_bytes_ += size;
        ++chain.readable_;
    }
    return {};
}

// Ends: each round adds a segment (at most kMaxSegments) or leaves.
Result<void> Queue::walk(Chain& chain, GuestAddr table, std::uint32_t entries, std::uint16_t first,
                         bool is_indirect) const {
    for (std::uint32_t index = first;;) {
        if (index >= entries) return guest_fault("descriptor index out of range");
        const GuestAddr at = HF_TRY(table.plus(index * sizeof(spec::Desc)));
        // The one copy: the driver may rewrite its table while we look.
        const auto desc = HF_TRY(memory_->read_value<spec::Desc>(at));
        const std::uint16_t flags = desc.flags.get();
        if ((flags & spec::DESC_F_INDIRECT) != 0) {
            // §2.7.5.3.1: not nested, not together with NEXT.
            if (is_indirect || !layout_.indirect) return guest_fault("indirect descriptor not allowed");
            if ((flags & spec::DESC_F_NEXT) != 0) return guest_fault("indirect descriptor with a successor");
            const std::uint32_t bytes = desc.len.get();
            if (bytes == 0 || bytes % sizeof(spec::Desc) != 0) return guest_fault("indirect table size");
            return walk(chain, GuestAddr{desc.addr.get()}, bytes / sizeof(spec::Desc), 0, true);
        }
        HF_TRY(add_segment(chain, desc.addr.get(), desc.len.get(), (flags & spec::DESC_F_WRITE) != 0));
        if ((flags & spec::DESC_F_NEXT) == 0) return {};
        index = desc.next.get();
    }
}

Result<bool> Queue::pop(Chain& chain) {
    if (!HF_TRY(has_chain())) return false;
    const GuestAddr slot{layout_.available.value() + spec::RING_ENTRIES + 2 * entry(next_available_)};
    chain.head_ = HF_TRY(memory_->load_acquire(slot));
    chain.readable_ = chain.count_ = 0;
    chain.readable_bytes_ = chain.writable_bytes_ = 0;
    HF_TRY(walk(chain, layout_.descriptors, layout_.size, chain.head_, false));
    ++next_available_;
    if (armed_ && !layout_.every_kick) disarm();
    return true;
}

void Queue::push(std::uint16_t head, std::uint32_t written) noexcept {
    if (layout_.size == 0) return;
    const GuestAddr at{layout_.used.value() + spec::RING_ENTRIES + sizeof(spec::UsedElem) * entry(used_)};
    ++used_;
    // Cannot fail: create() found the ring in RAM, and RAM does not move.
    static_cast<void>(memory_->write_value(at, spec::UsedElem{.id = head, .len = written}));
}

bool Queue::publish() noexcept {
    if (used_ == published_) return false;
    const std::uint16_t old = std::exchange(published_, used_);
    static_cast<void>(memory_->store_release(GuestAddr{layout_.used.value() + spec::RING_IDX}, used_));
    // Our index must be visible before we look whether the driver wants an interrupt; the driver
    // does the same the other way round (§2.7.7.2, §2.7.13.4.1).
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (layout_.event_idx) {
        const GuestAddr at{layout_.available.value() + spec::RING_ENTRIES + 2ULL * layout_.size};
        const std::uint16_t event = memory_->load_acquire(at).value_or(0);
        // §2.7.10: has the index the driver waits for been passed?
        return static_cast<std::uint16_t>(used_ - event - 1) < static_cast<std::uint16_t>(used_ - old);
    }
    return (memory_->load_acquire(layout_.available).value_or(0) & spec::AVAIL_F_NO_INTERRUPT) == 0;
}

void Queue::set_wanted(bool wanted) noexcept {
    wanted_ = wanted;
    if (!wanted && armed_) disarm();
}

void Queue::disarm() noexcept {
    armed_ = false;
    // With event indices there is nothing to write: the driver passes the old index once, at most.
    if (!layout_.event_idx && layout_.size != 0) {
        static_cast<void>(memory_->store_release(layout_.used, spec::USED_F_NO_NOTIFY));
    }
}

Result<bool> Queue::arm() {
    if (!wanted_ || layout_.size == 0) return false;
    if (!armed_ || armed_at_ != next_available_) {
        if (layout_.event_idx) {
            const GuestAddr at{layout_.used.value() + spec::RING_ENTRIES +
                               sizeof(spec::UsedElem) * layout_.size};
            HF_TRY(memory_->store_release(at, next_available_));
        } else {
            HF_TRY(memory_->store_release(layout_.used, 0));
        }
        armed_ = true;
        armed_at_ = next_available_;
        // The driver either sees that we want a notification, or we see its index below (§2.7.10).
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    return has_chain();
}

}  // namespace holdfast::virtio
