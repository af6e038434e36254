// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/window.hpp"

#include <algorithm>
#include <cstdlib>

namespace holdfast::memcrypt::software {
namespace {

constexpr std::uint8_t kMostLevel = 4;
/// A page's last eviction is remembered in sixteenths of the window, in one byte that goes round.
constexpr std::uint64_t kGhostSteps = 16;
/// A page that comes back after fewer evictions than a quarter of the window has a working set it belongs to.
constexpr unsigned kLately = kGhostSteps / 4;
/// How far to look past pages that another thread is busy with, and past ones in steady use.
constexpr std::uint32_t kMostLooks = 64;
constexpr std::uint32_t kLooksPerPick = 32;

}  // namespace

Window::Window(PageTable& pages, std::uint32_t capacity) noexcept
    : pages_{pages}, capacity_{capacity}, probation_target_{capacity_ / 16}, grace_target_{capacity_ / 12} {
    check(capacity >= kMinPages, "clear window below its minimum");
}

Window::List& Window::list(Queue queue) noexcept {
    switch (queue) {
        case Queue::Probation: return probation_;
        case Queue::Main: return main_;
        case Queue::Grace: return grace_;
        case Queue::None: break;
    }
    bug("page in no queue");
}

void Window::push(Queue queue, std::uint32_t page) noexcept {
    List& to = list(queue);
    Links& links = pages_.links(page);
    links.queue = queue;
    links.newer = kNoPage;
    links.older = to.newest;
    (to.newest == kNoPage ? to.oldest : pages_.links(to.newest).newer) = page;
    to.newest = page;
    ++to.size;
}

void Window::unlink(std::uint32_t page) noexcept {
    Links& links = pages_.links(page);
    if (links.queue == Queue::None) return;
    List& from = list(links.queue);
    (links.newer == kNoPage ? from.newest : pages_.links(links.newer).older) = links.older;
    (links.older == kNoPage ? from.oldest : pages_.links(links.older).newer) = links.newer;
    --from.size;
    links.queue = Queue::None;
}

bool Window::reserve(std::uint32_t pages) noexcept {
    if (pages > free()) return false;
    used_ += pages;
    return true;
}

std::uint8_t Window::now() const noexcept {
    // 1..255: zero says that nothing is remembered.
    return static_cast<std::uint8_t>(evictions_ * kGhostSteps / capacity_ % 255 + 1);
}

bool Window::left_lately(std::uint32_t page) noexcept {
    const std::uint8_t then = pages_.ghost(page);
    if (then == 0) return false;
    return (now() + 255U - then) % 255 < kLately;
}

std::uint8_t Window::step() const noexcept {
    return static_cast<std::uint8_t>(evictions_ * kGhostSteps / capacity_);
}

bool Window::left_together(std::uint32_t page, std::uint32_t other) noexcept {
    return pages_.ghost(page) != 0 && std::abs(pages_.ghost(page) - pages_.ghost(other)) <= 1;
}

void Window::admit(std::uint32_t page) noexcept {
    const bool again = left_lately(page);
    pages_.enter_window(page);
    push(again ? Queue::Main : Queue::Probation, page);
    pages_.set_state(page, PageState::ClearMapped);
}

void Window::touched(std::uint32_t page) noexcept {
    Links& links = pages_.links(page);
    if (links.queue == Queue::Grace) {
        unlink(page);
        links.credit = static_cast<std::uint8_t>((2U << links.level) - 1);
        links.level = std::min<std::uint8_t>(links.level + 1, kMostLevel);
        push(Queue::Main, page);
    }
    links.aged = false;
    pages_.set_state(page, PageState::ClearMapped);
}

std::uint32_t Window::oldest_settled(Queue queue) noexcept {
    std::uint32_t page = list(queue).oldest;
    for (std::uint32_t looks = 0; page != kNoPage && looks < kMostLooks; ++looks) {
        const PageState state = pages_.state(page);
        if (state == PageState::ClearMapped || state == PageState::ClearGrace) return page;
        page = pages_.links(page).newer;
    }
    return kNoPage;
}

std::uint32_t Window::pick_unmap(std::span<std::uint32_t> out) noexcept {
    std::uint32_t picked = 0;
    std::size_t looks = out.size() * kLooksPerPick;
    while (picked < out.size() && grace_.size + picked < grace_target_ && looks-- > 0) {
        const bool on_probation = probation_.size > probation_target_ || main_.size == 0;
        const std::uint32_t page = oldest_settled(on_probation ? Queue::Probation : Queue::Main);
        if (page == kNoPage) break;
        Links& links = pages_.links(page);
        unlink(page);
        if (!on_probation && links.credit > 0) {
            --links.credit;
            push(Queue::Main, page);
        } else if (pages_.state(page) == PageState::ClearGrace) {
            push(Queue::Grace, page);  // ageing has unmapped it already
        } else {
            pages_.set_state(page, PageState::Evicting);
            out[picked++] = page;
        }
    }
    return picked;
}

void Window::unmapped(std::uint32_t page) noexcept {
    if (pages_.links(page).queue == Queue::None) push(Queue::Grace, page);
    pages_.set_state(page, PageState::ClearGrace);
}

std::uint32_t Window::pick_victims(std::span<std::uint32_t> out) noexcept {
    std::uint32_t picked = 0;
    while (picked < out.size()) {
        const std::uint32_t page = oldest_settled(Queue::Grace);
        if (page == kNoPage) break;
        take_out(page);
        out[picked++] = page;
    }
    return picked;
}

void Window::evicted(std::uint32_t page, PageState state) noexcept {
    ++evictions_;
    pages_.ghost(page) = now();
    pages_.set_state(page, state);
    --used_;
}

Window::Look Window::age(std::uint32_t page) noexcept {
    const PageState state = pages_.state(page);
    if (state != PageState::ClearMapped && state != PageState::ClearGrace) return Look::Stays;
    Links& links = pages_.links(page);
    if (state == PageState::ClearGrace) {
        if (std::exchange(links.aged, true)) {
            take_out(page);
            return Look::Seal;
        }
        return Look::Stays;
    }
    links.aged = true;
    pages_.set_state(page, PageState::Evicting);
    return Look::Unmap;
}

void Window::take_out(std::uint32_t page) noexcept {
    unlink(page);
    pages_.set_state(page, PageState::Evicting);
}

}  // namespace holdfast::memcrypt::software
