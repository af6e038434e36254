// SPDX-License-Identifier: Apache-2.0
// Bringing pages in: what happens from the moment a vCPU or a device stalls on a page until it goes on.
#include <algorithm>

#include "memcrypt/software/ageing.hpp"
#include "memcrypt/software/pager.hpp"
#include "sys/spin.hpp"

namespace holdfast::memcrypt::software {
namespace {

using Clock = std::chrono::steady_clock;

// Pages that are opened before they are mapped with one call: who waits for the first waits for them.
constexpr std::size_t kChunk = 32;

/// The guest's touch would be a fault that opens it.
bool is_closed(PageState state) noexcept {
    return state == PageState::Free || state == PageState::Zero || state == PageState::Sealed;
}

/// Calls `visit(entries)` for each run of neighbouring pages.
template <typename Entry, typename Visit>
Result<void> for_each_run(std::span<const Entry> sorted, Visit visit) {
    while (!sorted.empty()) {
        std::size_t length = 1;
        while (length < sorted.size() && sorted[length].page == sorted[0].page + length) ++length;
        HF_TRY(visit(sorted.first(length)));
        sorted = sorted.subspan(length);
    }
    return {};
}

}  // namespace

void Pager::read_faults(std::size_t stripe) noexcept {
    const Userfault& faults = views_.stripes()[stripe];
    Worker& worker = *readers_[stripe];
    Userfault::Batch batch;
    std::array<epoll_event, 2> ready;
    Spin spin;
    while (!stopping_.load()) {
        const auto taken = faults.take(batch);
        if (!taken) return fail(taken.error());
        const Clock::time_point heard = Clock::now();
        for (const std::uintptr_t address : std::span{batch}.first(*taken)) {
            if (const auto done = on_fault(worker, views_.page_at(address)); !done) return fail(done.error());
            counters_.fault_took(Clock::now() - heard);
        }
        // The guest runs again; what its streams will ask for next needs room.
        if (*taken > 0) {
            if (const auto done = make_room_ahead(worker); !done) return fail(done.error());
            spin.worked(Clock::now());
        } else if (spin.goes_on(heard)) {
            __builtin_ia32_pause();
        } else {
            if (const auto woken = reader_pollers_[stripe].wait(ready, -1); !woken)
                return fail(woken.error());
            spin.woke(heard, Clock::now());
        }
    }
}

Result<void> Pager::on_fault(Worker& worker, std::uint32_t page) {
    Load load;
    // Another thread may take the room we make; but each time round somebody's page has come in.
    for (;;) {
        Plan planned = Plan::Nothing;
        {
            const Lock hold{lock_};
            planned = plan(page, load);
        }
        switch (planned) {
            case Plan::Load: wake_evictor_if_low(); return bring_in(worker, load.all());
            case Plan::Wake: return views_.wake(page);
            case Plan::Nothing: return {};
            case Plan::NoRoom: break;
        }
        if (HF_TRY(make_room(worker, 1)) == 0) std::this_thread::yield();
    }
}

/// A stream empties the window faster than the evictor, which has to be woken first, can make room: so it is
/// made here, while the guest is busy with what it got.
Result<void> Pager::make_room_ahead(Worker& worker) {
    for (;;) {
        std::uint32_t missing = 0;
        {
            const Lock hold{lock_};
            const std::uint32_t wanted = std::min(still_closed(), room_ahead());
            if (window_.free() < wanted) missing = wanted - window_.free();
        }
        if (missing == 0 || HF_TRY(make_room(worker, missing)) == 0) return {};
    }
}

/// Decides what to do about a touched page, and takes it and those that come along.
Pager::Plan Pager::plan(std::uint32_t page, Load& load) {
    const PageState state = pages_.state(page);
    switch (state) {
        case PageState::Free:
        case PageState::Zero:
        case PageState::Sealed:
            if (!window_.reserve(1)) return Plan::NoRoom;
            (state == PageState::Sealed ? counters_.faults_sealed : counters_.faults_fresh).add();
            claim(page, state, load);
            plan_ahead(page, load);
            if (state == PageState::Sealed) plan_neighbours(page, load);
            streams_.open_beside(open_from(page, -1), open_from(page, 1));
            return Plan::Load;
        case PageState::ClearGrace:
            counters_.faults_grace.add();
            claim(page, state, load);
            if (pages_.links(page).aged) plan_cluster(page, load);
            return Plan::Load;
        case PageState::Evicting:
            // Whoever is at it wakes us when it is done, and we fault again.
            pages_.links(page).wanted = true;
            counters_.faults_raced.add();
            return Plan::Nothing;
        case PageState::Opening:
            counters_.faults_raced.add();
            return Plan::Nothing;  // mapped, and woken, soon
        case PageState::ClearMapped:
        case PageState::Exempt: counters_.faults_raced.add(); return Plan::Wake;
        case PageState::Poisoned: return Plan::Nothing;  // nobody gets this page any more
    }
    return Plan::Nothing;
}

void Pager::claim(std::uint32_t page, PageState from, Load& load) {
    pages_.set_state(page, PageState::Opening);
    load.entries[load.count++] = {.page = page, .from = from};
}

/// Pages that the guest will probably touch next, as far as there is room without making some.
void Pager::plan_ahead(std::uint32_t page, Load& load) {
    const Streams::Advice advice = streams_.on_fault(page);
    counters_.ahead_useful.add(advice.proved);
    wanted_ahead_ = std::max(advice.count, wanted_ahead_ - wanted_ahead_ / 16);
    std::int64_t next = page;
    std::uint32_t followed = 0;
    for (std::uint32_t i = 0; i < std::min(advice.count, kMostAhead); ++i) {
        next += advice.stride;
        if (next < 0 || next >= pages_.size()) break;
        const auto candidate = static_cast<std::uint32_t>(next);
        const PageState state = pages_.state(candidate);
        if (is_closed(state) && !window_.reserve(1)) break;
        ++followed;
        if (!is_closed(state)) continue;
        claim(candidate, state, load);
        counters_.ahead.add();
    }
    streams_.followed(followed);
    most_clear_ = std::max(most_clear_, window_.used());
}

/// How many pages in a row beside this one the guest will pass over without a fault.
std::uint32_t Pager::open_from(std::uint32_t page, int direction) const {
    std::uint32_t count = 0;
    for (std::int64_t other = std::int64_t{page} + direction; count < Neighbours::kPages;
         ++count, other += direction) {
        if (other < 0 || other >= pages_.size() || is_closed(pages_.state(static_cast<std::uint32_t>(other))))
            break;
    }
    return count;
}

/// Sealed pages beside it that left when it did, but for one that is left closed to see what that is worth.
void Pager::plan_neighbours(std::uint32_t page, Load& load) {
    neighbours_.on_fault(page, window_.step());
    if (load.count > 1) return;  // a stream knows better
    std::array<std::uint32_t, Neighbours::kPages> found{};
    std::uint32_t count = 0;
    const std::uint32_t first = page - page % Neighbours::kPages;
    for (std::uint32_t other = first; other < std::min(first + Neighbours::kPages, pages_.size()); ++other) {
        if (pages_.state(other) == PageState::Sealed && window_.left_together(page, other))
            found[count++] = other;
    }
    constexpr std::uint32_t kFewest = 4;
    if (count < kFewest) return;
    neighbours_.watch(found[counters_.faults_sealed.value() % count], window_.step());
    if (!neighbours_.are_useful()) return;
    for (const std::uint32_t other : std::span{found}.first(count)) {
        if (neighbours_.is_watched(other)) continue;
        if (!window_.reserve(1)) break;
        claim(other, PageState::Sealed, load);
        counters_.neighbours.add();
    }
    most_clear_ = std::max(most_clear_, window_.used());
}

/// A page that ageing had unmapped is in use. Where its cluster is used densely, the others come back with
/// it, all but those whose turn it is to be looked at alone.
void Pager::plan_cluster(std::uint32_t page, Load& load) {
    Cluster& cluster = clusters_[page / Cluster::kPages];
    if (!cluster.note_fault()) return;
    const std::uint32_t first = page - page % Cluster::kPages;
    const std::uint32_t end = std::min(first + Cluster::kPages, pages_.size());
    for (std::uint32_t other = first; other < end; ++other) {
        if (pages_.state(other) != PageState::ClearGrace || Cluster::is_alone(other, age_round_)) continue;
        const Links& links = pages_.links(other);
        if (links.aged && links.queue != Queue::Grace) claim(other, PageState::ClearGrace, load);
    }
}

/// Opens the pages, which are ours (Opening), and maps them. The first chunk holds the page that is waited
/// for.
Result<void> Pager::bring_in(Worker& worker, std::span<Load::Entry> entries) {
    while (!entries.empty()) {
        const auto chunk = entries.first(std::min(entries.size(), kChunk));
        entries = entries.subspan(chunk.size());
        std::ranges::sort(chunk, {}, &Load::Entry::page);
        HF_TRY(populate(chunk));
        for (const Load::Entry& entry : chunk) {
            if (const auto opened = open(worker, entry); !opened) {
                const Lock hold{lock_};
                window_.release(1);  // it will not become clear
                return opened;
            }
        }
        holdfast::wipe(worker.buffer());
        HF_TRY(for_each_run(std::span<const Load::Entry>{chunk}, [this](std::span<const Load::Entry> run) {
            return views_.map(run[0].page, static_cast<std::uint32_t>(run.size()));
        }));
        admit(chunk);
    }
    return {};
}

/// Frames for those that have none.
Result<void> Pager::populate(std::span<const Load::Entry> sorted) const {
    return for_each_run(sorted, [this](std::span<const Load::Entry> run) -> Result<void> {
        for (std::size_t i = 0; i < run.size(); ++i) {
            std::size_t fresh = 0;
            while (i + fresh < run.size() && run[i + fresh].from == PageState::Free) ++fresh;
            if (fresh > 0) HF_TRY(views_.populate(run[i].page, static_cast<std::uint32_t>(fresh)));
            i += fresh;
        }
        return {};
    });
}

/// Makes the frame plaintext. What does not verify never gets into the frame, nor to the guest.
Result<void> Pager::open(Worker& worker, const Load::Entry& entry) {
    const std::uint32_t page = entry.page;
    switch (entry.from) {
        case PageState::Free:
        case PageState::Zero:
            if (!is_zero(views_.frame(page))) return tampered(page);
            return {};
        case PageState::Sealed: {
            const std::uint8_t epoch = pages_.epoch(page);
            sync_key(worker, epoch);
            PageCipher& cipher = *worker.ciphers[epoch];
            if (!cipher.open(identity(page), views_.frame(page), worker.buffer(), pages_.tag(page))) {
                return tampered(page);
            }
            std::ranges::copy(worker.buffer(), views_.frame(page).begin());
            counters_.opened.add();
            return {};
        }
        case PageState::ClearGrace: return {};
        default: bug("page opened from a state that is not closed");
    }
}

void Pager::admit(std::span<const Load::Entry> entries) {
    const Lock hold{lock_};
    for (const Load::Entry& entry : entries) {
        if (entry.from == PageState::Sealed) --sealed_with_[pages_.epoch(entry.page)];
        if (entry.from == PageState::ClearGrace) window_.touched(entry.page);
        else window_.admit(entry.page);
    }
}

Result<void> Pager::make_ready(std::uint32_t first, std::uint32_t count) {
    const auto is_mapped = [this](std::uint32_t page) {
        const PageState state = pages_.state(page);
        return state == PageState::ClearMapped || state == PageState::Exempt;
    };
    std::uint32_t page = first;
    while (page < first + count && is_mapped(page)) ++page;
    if (page == first + count) return {};
    const Lock visiting{visitor_lock_};
    if (!visitor_) return Error{Fault::Os, 0, "guest memory has been wiped"};
    for (; page < first + count; ++page) {
        if (!is_mapped(page)) HF_TRY(on_fault(*visitor_, page));
    }
    return {};
}

}  // namespace holdfast::memcrypt::software
