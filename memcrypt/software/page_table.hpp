// SPDX-License-Identifier: Apache-2.0
// What is known of each page of guest RAM: its state, and what its state needs. 27 bytes a page (0.66 % of
// guest RAM), in locked memory that no dump contains: whoever could change a version and a tag could replay.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "memcrypt/cipher/page_cipher.hpp"
#include "sys/mapping.hpp"

namespace holdfast::memcrypt::software {

/// Who may touch a page's bytes is decided by its state alone:
///
///   Free, Zero, Sealed --fault--> Opening --mapped--> ClearMapped <--fault-- ClearGrace
///                                                     ClearMapped --unmapped--> ClearGrace (by Evicting)
///                                                     ClearGrace --sealed--> Sealed, Zero (by Evicting)
enum class PageState : std::uint8_t {
    Free,         ///< never touched: no frame; reads as zeros
    Zero,         ///< was all zeros when it was put away; its frame holds zeros, and is checked to
    Sealed,       ///< its frame holds ciphertext
    Opening,      ///< one thread is making it readable and mapping it
    ClearMapped,  ///< plaintext, mapped for the guest
    ClearGrace,   ///< plaintext, not mapped: a touch brings it back without cryptography
    Evicting,     ///< one thread is unmapping or sealing it
    Exempt,       ///< plaintext, mapped, never sealed: a device reaches it
    Poisoned,     ///< its bytes were not what we had left there; the VM ends
};
inline constexpr std::size_t kPageStates = 9;
[[nodiscard]] std::string_view state_name(PageState state) noexcept;

enum class Queue : std::uint8_t { None, Probation, Main, Grace };

/// A page in the clear window: its place in the replacement queues (window.hpp), instead of a tag.
struct Links {
    std::uint32_t newer = 0;
    std::uint32_t older = 0;
    Queue queue = Queue::None;
    std::uint8_t level = 0;   ///< how often it was seen to be in use
    std::uint8_t credit = 0;  ///< how many times it is passed over before it is looked at again
    bool aged = false;        ///< was unmapped by ageing and not touched since
    bool wanted = false;      ///< somebody waits for it while it is Evicting
    std::array<std::uint8_t, 3> unused{};
};
static_assert(sizeof(Links) == sizeof(Tag));

inline constexpr std::uint32_t kNoPage = 0xffffffff;
inline constexpr std::uint32_t kMaxPages = kNoPage - 1;

/// Not thread-safe but for state() and count(); the pager's lock guards the rest. Transitional states
/// (Opening, Evicting) give the thread that set them the page's version, tag and epoch.
class PageTable {
public:
    static Result<PageTable> create(std::uint32_t pages);

    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] PageState state(std::uint32_t page) const noexcept {
        return std::atomic_ref{states_[page]}.load(std::memory_order_acquire);
    }
    void set_state(std::uint32_t page, PageState state) noexcept;
    /// How many pages are in `state`. Any thread.
    [[nodiscard]] std::uint32_t count(PageState state) const noexcept {
        return (*counts_)[static_cast<std::size_t>(state)].load(std::memory_order_relaxed);
    }

    /// Sealed pages (and while one is opened or sealed).
    [[nodiscard]] Tag& tag(std::uint32_t page) noexcept { return slots_[page].tag; }
    /// Pages in the clear window. enter_window() makes a fresh one in place of the tag.
    [[nodiscard]] Links& links(std::uint32_t page) noexcept { return slots_[page].links; }
    void enter_window(std::uint32_t page) noexcept { slots_[page].links = Links{}; }
    /// Of the last sealing; 0 before the first. Never goes back.
    [[nodiscard]] std::uint64_t& version(std::uint32_t page) noexcept { return versions_[page]; }
    /// Which of the two keys sealed it.
    [[nodiscard]] std::uint8_t& epoch(std::uint32_t page) noexcept { return epochs_[page]; }
    /// When it was last evicted, in the window's coarse time; 0: not that one remembers.
    [[nodiscard]] std::uint8_t& ghost(std::uint32_t page) noexcept { return ghosts_[page]; }

private:
    union Slot {
        Tag tag;
        Links links;
    };
    static_assert(sizeof(Slot) == 16);
    using Counts = std::array<std::atomic<std::uint32_t>, kPageStates>;

    PageTable(Mapping memory, std::uint32_t pages);
    Mapping memory_;
    std::uint32_t size_;
    std::span<std::uint64_t> versions_;
    std::span<Slot> slots_;
    std::span<PageState> states_;
    std::span<std::uint8_t> epochs_;
    std::span<std::uint8_t> ghosts_;
    std::unique_ptr<Counts> counts_;

public:
    static constexpr std::size_t kBytesPerPage = sizeof(std::uint64_t) + sizeof(Slot) + 3;
};

}  // namespace holdfast::memcrypt::software
