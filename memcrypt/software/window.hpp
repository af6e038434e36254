// SPDX-License-Identifier: Apache-2.0
// Which pages are clear: the budget, and who leaves next. The shape is S3-FIFO's (Yang et al., SOSP 2023): a
// small probation queue that scans pass through, a main queue, and a memory of pages that left lately. There
// is no bit that says "in use", so pages about to leave are unmapped first and spend a while in grace: a
// touch there costs a fault, brings the page to the main queue, and spares it the next looks, more of them
// each time (a fault without cryptography costs nearly as much as one with, so pages in steady use are seldom
// asked).
#pragma once

#include <cstdint>
#include <span>

#include "memcrypt/software/page_table.hpp"

namespace holdfast::memcrypt::software {

/// Not thread-safe, makes no system calls. Changes the states of the pages it is asked about.
class Window {
public:
    /// `capacity` in pages, at least kMinPages. `pages` outlives the window.
    Window(PageTable& pages, std::uint32_t capacity) noexcept;
    static constexpr std::uint32_t kMinPages = 64;

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] std::uint32_t used() const noexcept { return used_; }
    [[nodiscard]] std::uint32_t free() const noexcept { return capacity_ - used_; }
    /// Makes room for pages about to be opened; false if there is not so much.
    [[nodiscard]] bool reserve(std::uint32_t pages) noexcept;
    void release(std::uint32_t pages) noexcept { used_ -= pages; }

    /// An Opening page, for which room was reserved, is mapped: -> ClearMapped.
    void admit(std::uint32_t page) noexcept;
    /// A page was touched while it was not mapped, and is mapped again: Opening -> ClearMapped.
    void touched(std::uint32_t page) noexcept;

    /// Chooses pages to unmap so that enough are in grace: -> Evicting. Returns how many.
    std::uint32_t pick_unmap(std::span<std::uint32_t> out) noexcept;
    /// A page that pick_unmap() or age() chose is unmapped: Evicting -> ClearGrace.
    void unmapped(std::uint32_t page) noexcept;
    /// Chooses pages to seal, all unmapped: ClearGrace -> Evicting, out of every queue. Returns how many.
    std::uint32_t pick_victims(std::span<std::uint32_t> out) noexcept;
    /// An Evicting page has been sealed: it is `state` from now on (Sealed or Zero), and its room is free.
    void evicted(std::uint32_t page, PageState state) noexcept;

    /// Evictions so far, in sixteenths of the window; goes round.
    [[nodiscard]] std::uint8_t step() const noexcept;
    /// Whether these two were put away at about the same time.
    [[nodiscard]] bool left_together(std::uint32_t page, std::uint32_t other) noexcept;

    /// Ageing looks at a page. ClearMapped: -> Evicting, to be unmapped (`Unmap`). ClearGrace and not touched
    /// since the last look: -> Evicting, to be sealed (`Seal`). Anything else stays.
    enum class Look : std::uint8_t { Stays, Unmap, Seal };
    Look age(std::uint32_t page) noexcept;
    /// Takes a clear page (mapped or in grace) out of its queue for good: -> Evicting.
    void take_out(std::uint32_t page) noexcept;

private:
    struct List {
        std::uint32_t newest = kNoPage;
        std::uint32_t oldest = kNoPage;
        std::uint32_t size = 0;
    };
    [[nodiscard]] List& list(Queue queue) noexcept;
    void push(Queue queue, std::uint32_t page) noexcept;
    void unlink(std::uint32_t page) noexcept;
    [[nodiscard]] bool left_lately(std::uint32_t page) noexcept;
    [[nodiscard]] std::uint8_t now() const noexcept;
    std::uint32_t oldest_settled(Queue queue) noexcept;

    PageTable& pages_;
    std::uint32_t capacity_;
    std::uint32_t probation_target_;
    std::uint32_t grace_target_;
    std::uint32_t used_ = 0;
    std::uint64_t evictions_ = 0;
    List probation_;
    List main_;
    List grace_;
};

}  // namespace holdfast::memcrypt::software
