// SPDX-License-Identifier: Apache-2.0
// Putting pages away: unmap, wait in grace, seal in place.
#include <algorithm>
#include <utility>

#include "memcrypt/software/ageing.hpp"
#include "memcrypt/software/pager.hpp"

namespace holdfast::memcrypt::software {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kShortestTick{10};
constexpr int kTicksPerRound = 64;

/// Asks memory for a page that is sealed next: it is cold, as it has not been used for a while, and the
/// processor's own prefetching ends with the page.
void fetch(ConstPageBytes page) noexcept {
    constexpr std::size_t kLine = 64;
    for (std::size_t at = 0; at < page.size(); at += kLine) __builtin_prefetch(page.data() + at);
}

}  // namespace

/// Free room below which the evictor is woken, and that it makes: so much that a fault need not wait for it,
/// and that streams find room for what they open next. Never more than the pages that are not clear: a window
/// as large as guest RAM seals nothing for want of room.
std::uint32_t Pager::low_water() const noexcept {
    return std::min(still_closed(), std::max(window_.capacity() / 64, room_ahead()));
}
std::uint32_t Pager::high_water() const noexcept {
    const std::uint32_t more = std::max(std::min(window_.capacity() / 32, kBatch), room_ahead());
    return std::min(still_closed(), low_water() + more);
}
std::uint32_t Pager::room_ahead() const noexcept { return std::min(window_.capacity() / 8, wanted_ahead_); }
std::uint32_t Pager::still_closed() const noexcept {
    return pages_.size() - static_cast<std::uint32_t>(pages_.count(PageState::Exempt)) - window_.used();
}

void Pager::wake_evictor_if_low() noexcept {
    bool low = false;
    {
        const Lock hold{lock_};
        low = window_.free() < low_water();
    }
    if (low && evictor_sleeps_.exchange(false)) evictor_wake_.signal();
}

void Pager::evict_loop() noexcept {
    using std::chrono::milliseconds;
    const bool ages = config_.seal_after > milliseconds{0};
    // Every cluster is looked at twice in seal_after.
    const auto round = std::max(config_.seal_after / 2, kShortestTick);
    const milliseconds tick = std::max(round / kTicksPerRound, kShortestTick);
    const auto clusters = (pages_.size() + Cluster::kPages - 1) / Cluster::kPages;
    Clock::time_point round_began = Clock::now();
    std::uint32_t looked = 0;
    std::array<epoll_event, 1> ready;
    while (!stopping_.load()) {
        if (const auto done = evict_until_enough(*evictor_); !done) return fail(done.error());
        if (const auto done = change_key_if_due(*evictor_); !done) return fail(done.error());
        if (ages) {
            const auto passed = std::min<Clock::duration>(Clock::now() - round_began, round);
            const auto due = static_cast<std::uint32_t>(clusters * passed / Clock::duration{round});
            if (const auto done = age(*evictor_, due - looked); !done) return fail(done.error());
            looked = due;
            if (due == clusters) {
                round_began += round;
                looked = 0;
            }
        }
        evictor_sleeps_.store(true);
        const bool enough = [this] {
            const Lock hold{lock_};
            return window_.free() >= low_water();
        }();
        if (enough) {
            const int timeout_ms = ages ? static_cast<int>(tick.count()) : -1;
            if (const auto woken = evictor_poller_->wait(ready, timeout_ms); !woken)
                return fail(woken.error());
            evictor_wake_.drain();
        }
        evictor_sleeps_.store(false);
    }
}

Result<void> Pager::evict_until_enough(Worker& worker) {
    for (;;) {
        std::uint32_t missing = 0;
        {
            const Lock hold{lock_};
            if (window_.free() < high_water()) missing = high_water() - window_.free();
        }
        if (missing == 0 || HF_TRY(make_room(worker, missing)) == 0) return {};
    }
}

/// Seals at most `pages` pages (and a batch), after unmapping as many as should be in grace. Returns how many
/// were sealed: none where all are in somebody's hands.
Result<std::uint32_t> Pager::make_room(Worker& worker, std::uint32_t pages) {
    std::array<std::uint32_t, kBatch> batch;
    std::uint32_t count = 0;
    {
        const Lock hold{lock_};
        count = window_.pick_unmap(batch);
    }
    HF_TRY(unmap(std::span{batch}.first(count)));
    {
        const Lock hold{lock_};
        count = window_.pick_victims(std::span{batch}.first(std::min(pages, kBatch)));
    }
    HF_TRY(seal(worker, std::span{batch}.first(count)));
    return count;
}

/// Pages that are ours (Evicting) -> ClearGrace. Sorts them.
Result<void> Pager::unmap(std::span<std::uint32_t> pages) {
    if (pages.empty()) return {};
    std::ranges::sort(pages);
    HF_TRY(views_.unmap(pages));
    std::array<std::uint32_t, kBatch> wanted;
    std::size_t count = 0;
    check(pages.size() <= wanted.size(), "batch of pages");
    {
        const Lock hold{lock_};
        count = take_wanted(pages, wanted);
        for (const std::uint32_t page : pages) window_.unmapped(page);
    }
    for (const std::uint32_t page : std::span{wanted}.first(count)) HF_TRY(views_.wake(page));
    return {};
}

/// Those of the pages that somebody touched while they were in our hands, and waits for. Returns how many.
std::size_t Pager::take_wanted(std::span<const std::uint32_t> pages, std::span<std::uint32_t> out) noexcept {
    std::size_t count = 0;
    for (const std::uint32_t page : pages) {
        if (std::exchange(pages_.links(page).wanted, false)) out[count++] = page;
    }
    return count;
}

/// Unmapped pages that are ours (Evicting) -> Sealed or Zero.
Result<void> Pager::seal(Worker& worker, std::span<const std::uint32_t> pages) {
    if (pages.empty()) return {};
    std::array<Tag, kBatch> tags;
    std::array<bool, kBatch> zero{};
    std::array<std::uint32_t, kBatch> wanted;
    std::size_t wanted_count = 0;
    std::uint32_t sealed = 0;
    check(pages.size() <= tags.size(), "batch of pages");

    const std::uint8_t epoch = begin_sealing(worker, static_cast<std::uint32_t>(pages.size()));
    const Clock::time_point began = Clock::now();
    for (std::size_t i = 0; i < pages.size(); ++i) {
        const PageBytes frame = views_.frame(pages[i]);
        if (i + 1 < pages.size()) fetch(views_.frame(pages[i + 1]));
        zero[i] = is_zero(frame);
        if (zero[i]) continue;
        ++pages_.version(pages[i]);
        worker.ciphers[epoch]->seal(identity(pages[i]), frame, tags[i]);
        ++sealed;
    }
    counters_.seal_nanoseconds.add(static_cast<std::uint64_t>((Clock::now() - began).count()));
    counters_.pages_sealed.add(sealed);
    {
        const Lock hold{lock_};
        wanted_count = take_wanted(pages, wanted);
        for (std::size_t i = 0; i < pages.size(); ++i) {
            const std::uint32_t page = pages[i];
            if (!zero[i]) {
                pages_.tag(page) = tags[i];
                pages_.epoch(page) = epoch;
            }
            window_.evicted(page, zero[i] ? PageState::Zero : PageState::Sealed);
        }
        sealed_with_[epoch] -= static_cast<std::uint32_t>(pages.size()) - sealed;
    }
    for (const std::uint32_t page : std::span{wanted}.first(wanted_count)) HF_TRY(views_.wake(page));
    return {};
}

Result<void> Pager::seal_all() {
    const Lock visiting{visitor_lock_};
    // Pages in other threads' hands are done with by the next turn; a guest that runs brings new ones for
    // ever.
    constexpr int kMostTurns = 1000;
    for (int turn = 0; turn < kMostTurns; ++turn) {
        std::vector<std::uint32_t> clear;
        {
            const Lock hold{lock_};
            if (window_.used() == 0) break;
            clear.reserve(window_.used());
            for (std::uint32_t page = 0; page < pages_.size(); ++page) {
                const PageState state = pages_.state(page);
                if (state != PageState::ClearMapped && state != PageState::ClearGrace) continue;
                window_.take_out(page);
                clear.push_back(page);
            }
        }
        if (clear.empty()) {
            std::this_thread::yield();
            continue;
        }
        if (pages_.count(PageState::Exempt) == 0) HF_TRY(views_.unmap_all());
        else HF_TRY(views_.unmap(clear));
        for (std::span<const std::uint32_t> rest{clear}; !rest.empty();) {
            const auto batch = rest.first(std::min<std::size_t>(rest.size(), kBatch));
            HF_TRY(seal(*visitor_, batch));
            rest = rest.subspan(batch.size());
        }
    }
    return {};
}

}  // namespace holdfast::memcrypt::software
