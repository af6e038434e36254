// SPDX-License-Identifier: Apache-2.0
// Layout of the memory that holdfast-vmm and holdfast-io share: two single-producer single-consumer
// rings with sleep flags, then the bounce arena. Both sides map it and neither trusts the other, so
// positions are kept privately and what is read from here is copied once and judged.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>

#include <sched.h>

#include "sys/eventfd.hpp"
#include "sys/mapping.hpp"
#include "sys/result.hpp"
#include "vmm/io/protocol.hpp"

namespace holdfast::io {

/// Requests that may be under way at once. As many entries in each ring: a producer that respects
/// it never finds its ring full.
inline constexpr std::uint32_t kRingEntries = 512;
static_assert(std::has_single_bit(kRingEntries) && kRingEntries >= kSlotCount);

inline constexpr std::uint16_t kNoSlot = 0xffff;

namespace shared {

struct Request {
    std::uint64_t offset;
    std::uint32_t length;
    std::uint32_t tag;  ///< the VMM's index of the request; echoed
    std::uint16_t slot;
    std::uint8_t op;
    std::uint8_t resource;
    std::uint32_t reserved;
};
static_assert(sizeof(Request) == 24 && std::has_unique_object_representations_v<Request>);

struct Completion {
    std::uint32_t tag;
    std::uint32_t length;
    std::uint8_t status;
    std::array<std::uint8_t, 7> reserved;
};
static_assert(sizeof(Completion) == 16 && std::has_unique_object_representations_v<Completion>);

/// An entry moves as whole words: each is loaded exactly once, however the other side scribbles.
template <typename Entry>
using Words = std::array<std::atomic<std::uint64_t>, sizeof(Entry) / sizeof(std::uint64_t)>;
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free);

template <typename Entry>
struct Ring {
    alignas(64) std::atomic<std::uint32_t> tail;  ///< written by the producer: entries ever put
    /// Written by the consumer: entries ever taken.
    alignas(64) std::atomic<std::uint32_t> head;
    /// 1: the consumer sleeps (or is about to) and wants its eventfd signalled. The consumer sets it,
    /// either side clears it.
    alignas(64) std::atomic<std::uint32_t> sleeping;
    alignas(64) std::array<Words<Entry>, kRingEntries> entries;
};

struct Rings {
    Ring<Request> requests;
    Ring<Completion> completions;
};

}  // namespace shared

/// The rings' whole pages; the arena starts behind them.
inline constexpr std::size_t kRingBytes = (sizeof(shared::Rings) + 4095) / 4096 * 4096;
inline constexpr std::size_t kSharedBytes = kRingBytes + kSlotCount * kSlotSize;

/// Puts entries in; publish() shows them. The position is ours alone: what the consumer writes only
/// tells how much room there is.
template <typename Entry>
class Producer {
public:
    explicit Producer(shared::Ring<Entry>& ring) noexcept : ring_{&ring} {}

    /// False while the consumer has not taken enough. A consumer that claims more than was put only
    /// harms itself: entries it has not seen are overwritten, nothing else.
    [[nodiscard]] bool put(const Entry& entry) noexcept {
        // Acquire: the consumer's reads of an entry happened before we overwrite it.
        const std::uint32_t used = tail_ - ring_->head.load(std::memory_order_acquire);
        if (used >= kRingEntries) return false;
        const auto words = std::bit_cast<std::array<std::uint64_t, sizeof(Entry) / 8>>(entry);
        auto& target = ring_->entries[tail_ % kRingEntries];
        for (std::size_t i = 0; i < words.size(); ++i) {
            // SAFETY: relaxed, because publish() releases all of them at once.
            target[i].store(words[i], std::memory_order_relaxed);
        }
        ++tail_;
        return true;
    }

    /// Shows what was put; true if the consumer must be woken.
    [[nodiscard]] bool publish() noexcept {
        if (tail_ == published_) return false;
        published_ = tail_;
        // Release: entries, and the arena bytes they speak of, are visible before the new tail.
        // Sequentially consistent, as in arm(): either the consumer that has set `sleeping` sees this
        // tail, or we see `sleeping` (Dekker). A load first keeps the line shared while both are busy.
        ring_->tail.store(tail_, std::memory_order_seq_cst);
        if (ring_->sleeping.load(std::memory_order_seq_cst) == 0) return false;
        return ring_->sleeping.exchange(0, std::memory_order_seq_cst) != 0;
    }

private:
    shared::Ring<Entry>* ring_;
    std::uint32_t tail_ = 0;
    std::uint32_t published_ = 0;
};

/// Takes entries out, one copy each.
template <typename Entry>
class Consumer {
public:
    explicit Consumer(shared::Ring<Entry>& ring) noexcept : ring_{&ring} {}

    /// The next entry, none if there is none. Peer error: the producer's position is impossible.
    Result<std::optional<Entry>> take() noexcept {
        if (head_ == seen_tail_) {
            // Acquire: pairs with publish().
            const std::uint32_t tail = ring_->tail.load(std::memory_order_acquire);
            if (tail - head_ > kRingEntries) return peer_fault("ring position out of range");
            seen_tail_ = tail;
            if (head_ == seen_tail_) return std::optional<Entry>{};
        }
        std::array<std::uint64_t, sizeof(Entry) / 8> words;
        const auto& source = ring_->entries[head_ % kRingEntries];
        for (std::size_t i = 0; i < words.size(); ++i) {
            // SAFETY: relaxed, ordered by the acquire above; one load each is the one copy.
            words[i] = source[i].load(std::memory_order_relaxed);
        }
        ++head_;
        // Release: our reads of the entry happen before the producer may reuse it.
        ring_->head.store(head_, std::memory_order_release);
        return std::optional{std::bit_cast<Entry>(words)};
    }

    /// Something to take? One load; for spinning. An impossible position counts: take() reports it.
    [[nodiscard]] bool pending() const noexcept {
        return head_ != seen_tail_ || ring_->tail.load(std::memory_order_acquire) != head_;
    }

    /// Asks to be woken; false when there is something already (then do not sleep).
    [[nodiscard]] bool arm() noexcept {
        // Sequentially consistent store, then load: see Producer::publish().
        ring_->sleeping.store(1, std::memory_order_seq_cst);
        if (head_ == seen_tail_ && ring_->tail.load(std::memory_order_seq_cst) == head_) return true;
        disarm();
        return false;
    }
    void disarm() noexcept {
        // SAFETY: relaxed, because a late wake-up is only a wasted one.
        ring_->sleeping.store(0, std::memory_order_relaxed);
    }

private:
    shared::Ring<Entry>* ring_;
    std::uint32_t head_ = 0;
    std::uint32_t seen_tail_ = 0;
};

/// The shared memory, mapped. Starts zeroed (a fresh memfd) and is used by one client and one server.
class SharedMemory {
public:
    static Result<SharedMemory> map(const UniqueFd& memory);

    [[nodiscard]] shared::Rings& rings() const noexcept {
        // SAFETY: page-aligned, zeroed by the kernel, large enough; lock-free atomics are address-free
        // and all-zero is their initial state.
        return *reinterpret_cast<shared::Rings*>(mapping_.data());
    }
    /// The whole slot; `index` was checked.
    [[nodiscard]] std::span<std::byte, kSlotSize> slot(std::uint32_t index) const noexcept {
        return mapping_.bytes().subspan(kRingBytes + index * kSlotSize).first<kSlotSize>();
    }

private:
    explicit SharedMemory(Mapping mapping) noexcept : mapping_{std::move(mapping)} {}
    Mapping mapping_;
};

/// How long to spin before sleeping, learned from how long sleeps last. A short sleep is mostly the
/// two wake-ups that it costs (14-16 us each by eventfd on a quiet machine, several times that on a
/// busy one): spinning would have been better. After long ones it only takes the processor from
/// somebody else. bench/io_ring_bench.cpp shows what either choice does.
class SpinBudget {
public:
    static constexpr std::uint32_t kLongestNs = 20'000;
    static constexpr std::uint64_t kShortSleepNs = 100'000;
    /// Spinning did not help; the sleep that followed lasted `slept_ns`.
    void slept(std::uint64_t slept_ns) noexcept { ns_ = slept_ns < kShortSleepNs ? kLongestNs : ns_ / 2; }

    /// Spins until `ready()`; false when the budget is used up. Yields between looks: where the other
    /// side waits for this very processor, it gets it at once instead of after the whole budget.
    template <typename Ready>
    [[nodiscard]] bool spin(Ready ready) const noexcept {
        using Clock = std::chrono::steady_clock;
        const auto end = Clock::now() + std::chrono::nanoseconds{ns_};
        do {
            for (int i = 0; i < kLooks; ++i) {
                if (ready()) return true;
                __builtin_ia32_pause();
            }
            ::sched_yield();
        } while (Clock::now() < end);
        return ready();
    }

private:
    static constexpr int kLooks = 32;
    std::uint32_t ns_ = kLongestNs;
};

}  // namespace holdfast::io
