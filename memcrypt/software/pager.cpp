// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/pager.hpp"

#include <algorithm>

#include <sys/random.h>

#include "sys/log.hpp"

namespace holdfast::memcrypt::software {

Result<std::unique_ptr<Pager>> Pager::create(Views views, std::vector<std::uint32_t> regions,
                                             const Config& config) {
    const std::uint64_t window = config.window_bytes / kPageSize;
    if (window < Window::kMinPages) return input_error("the clear window is smaller than 64 pages (256 KiB)");
    if (window > views.pages()) return input_error("the clear window is larger than guest RAM");
    VmId vm;
    if (::getrandom(vm.data(), vm.size(), 0) != static_cast<ssize_t>(vm.size())) return os_error("getrandom");
    auto pages = HF_TRY(PageTable::create(views.pages()));
    auto first = HF_TRY(SecretKey::random());
    auto second = HF_TRY(SecretKey::random());
    Config checked = config;
    if (checked.pages_per_key == 0) checked.pages_per_key = pages_per_key(config.suite);
    std::unique_ptr<Pager> pager{new Pager{std::move(views),
                                           std::move(regions),
                                           checked,
                                           std::move(pages),
                                           {std::move(first), std::move(second)},
                                           vm}};
    HF_TRY(pager->start());
    return pager;
}

Pager::Pager(Views views, std::vector<std::uint32_t> regions, const Config& config, PageTable pages,
             std::array<SecretKey, 2> keys, const VmId& vm) noexcept
    : config_{config},
      vm_{vm},
      views_{std::move(views)},
      regions_{std::move(regions)},
      pages_{std::move(pages)},
      window_{pages_, static_cast<std::uint32_t>(config.window_bytes / kPageSize)},
      // No more than probation has room for: what is opened ahead must live until it is touched.
      streams_{std::min(kMostAhead, window_.capacity() / 16)},
      neighbours_{pages_.size()},
      clusters_((pages_.size() + Cluster::kPages - 1) / Cluster::kPages),
      keys_{std::move(keys)},
      sealings_left_{config.pages_per_key} {
    counters_.keys.add();
}

Pager::~Pager() { stop_threads(); }

void Pager::stop_threads() noexcept {
    stopping_.store(true);
    evictor_wake_.signal();
    readers_stop_.signal();
    threads_.clear();
}

Result<std::unique_ptr<Pager::Worker>> Pager::make_worker() {
    const Lock hold{lock_};
    auto worker = std::make_unique<Worker>(
        Worker{.ciphers = {}, .key_numbers = key_numbers_, .page = HF_TRY(SecretBytes::create(kPageSize))});
    for (std::size_t i = 0; i < keys_.size(); ++i) {
        worker->ciphers[i] = HF_TRY(make_page_cipher(config_.suite, keys_[i], vm_));
    }
    return worker;
}

Result<void> Pager::start() {
    evictor_wake_ = HF_TRY(EventFd::create());
    readers_stop_ = HF_TRY(EventFd::create());
    evictor_poller_.emplace(HF_TRY(Poller::create()));
    HF_TRY(evictor_poller_->add(evictor_wake_.fd(), EPOLLIN, 0));
    evictor_ = HF_TRY(make_worker());
    {
        const Lock hold{visitor_lock_};
        visitor_ = HF_TRY(make_worker());
    }
    for (const Userfault& faults : views_.stripes()) {
        Poller poller = HF_TRY(Poller::create());
        HF_TRY(poller.add(faults.fd(), EPOLLIN, 0));
        HF_TRY(poller.add(readers_stop_.fd(), EPOLLIN, 0));
        reader_pollers_.push_back(std::move(poller));
        readers_.push_back(HF_TRY(make_worker()));
    }
    for (std::size_t i = 0; i < readers_.size(); ++i) {
        threads_.push_back(named_thread("pager" + std::to_string(i), [this, i] { read_faults(i); }));
    }
    threads_.push_back(named_thread("evictor", [this] { evict_loop(); }));
    return {};
}

PageIdentity Pager::identity(std::uint32_t page) noexcept {
    const auto next = std::ranges::upper_bound(regions_, page);
    return {.region = static_cast<std::uint32_t>(next - regions_.begin()),
            .page = page,
            .version = pages_.version(page)};
}

void Pager::report_to(Events events) {
    {
        const Lock hold{report_lock_};
        events_ = std::move(events);
    }
    report();
}

void Pager::fail(const Error& error) noexcept {
    {
        const Lock hold{report_lock_};
        if (!failure_) failure_ = error;
    }
    report();
}

/// The page stays as it is, and nobody gets it any more.
Error Pager::tampered(std::uint32_t page) {
    {
        const Lock hold{lock_};
        pages_.set_state(page, PageState::Poisoned);
    }
    const Error error{Fault::Os, 0, "a sealed page of guest RAM is not as it was left"};
    {
        const Lock hold{report_lock_};
        if (!failure_) {
            failure_ = error;
            tampered_page_ = page;
        }
    }
    report();
    return error;
}

void Pager::report() noexcept {
    Events to;
    std::optional<std::uint32_t> page;
    Error error;
    {
        const Lock hold{report_lock_};
        if (!failure_ || reported_ || !events_.failed) return;
        reported_ = true;
        to = events_;
        page = tampered_page_;
        error = *failure_;
    }
    if (page) to.tampered(*page);
    else to.failed(error);
}

Result<void> Pager::exempt(std::uint32_t first, std::uint32_t count) {
    const Lock visiting{visitor_lock_};
    for (std::uint32_t page = first; page < first + count;) {
        {
            const Lock hold{lock_};
            if (pages_.state(page) == PageState::ClearMapped) {
                window_.take_out(page);
                window_.release(1);
                pages_.set_state(page, PageState::Exempt);
            }
        }
        if (pages_.state(page) == PageState::Exempt) ++page;
        else HF_TRY(on_fault(*visitor_, page));
    }
    return {};
}

Result<void> Pager::protect(std::uint32_t first, std::uint32_t count) {
    const Lock visiting{visitor_lock_};
    for (std::uint32_t page = first; page < first + count;) {
        bool room = false;
        {
            const Lock hold{lock_};
            check(pages_.state(page) == PageState::Exempt, "page to protect is exempt");
            room = window_.reserve(1);
            if (room) {
                pages_.enter_window(page);
                pages_.set_state(page, PageState::Evicting);
            }
        }
        if (!room) {
            if (HF_TRY(make_room(*visitor_, 1)) == 0) std::this_thread::yield();
            continue;
        }
        std::array<std::uint32_t, 1> one{page++};
        HF_TRY(views_.unmap(one));
        HF_TRY(seal(*visitor_, one));
    }
    return {};
}

void Pager::wipe() noexcept {
    stop_threads();
    const Lock visiting{visitor_lock_};
    const Lock hold{lock_};
    for (std::uint32_t page = 0; page < pages_.size(); ++page) {
        switch (pages_.state(page)) {
            case PageState::Free:
            case PageState::Zero:
            case PageState::Sealed:
            case PageState::Poisoned: break;
            case PageState::Opening:
            case PageState::ClearMapped:
            case PageState::ClearGrace:
            case PageState::Evicting:
            case PageState::Exempt: holdfast::wipe(views_.frame(page)); break;
        }
    }
    readers_.clear();
    evictor_.reset();
    visitor_.reset();
    for (SecretKey& key : keys_) {
        // Overwritten by a key that nothing is sealed with.
        if (const auto done = key.renew(); !done) log::error("pager.wipe", done.error());
    }
}

Statistics Pager::statistics() const {
    Statistics now;
    now.pages = pages_.size();
    now.window = config_.window_bytes / kPageSize;
    now.clear = pages_.count(PageState::ClearMapped) + pages_.count(PageState::Opening) +
                pages_.count(PageState::Evicting);
    now.grace = pages_.count(PageState::ClearGrace);
    now.sealed = pages_.count(PageState::Sealed);
    now.untouched = pages_.count(PageState::Free);
    now.zero = pages_.count(PageState::Zero);
    now.exempt = pages_.count(PageState::Exempt);
    now.poisoned = pages_.count(PageState::Poisoned);
    {
        const Lock hold{lock_};
        now.most_clear = most_clear_;
    }
    now.faults_fresh = counters_.faults_fresh.value();
    now.faults_sealed = counters_.faults_sealed.value();
    now.faults_grace = counters_.faults_grace.value();
    now.faults_raced = counters_.faults_raced.value();
    now.opened = counters_.opened.value();
    now.ahead = counters_.ahead.value();
    now.ahead_useful = counters_.ahead_useful.value();
    now.neighbours = counters_.neighbours.value();
    now.pages_sealed = counters_.pages_sealed.value();
    now.seal_nanoseconds = counters_.seal_nanoseconds.value();
    now.keys = counters_.keys.value();
    for (std::size_t i = 0; i < kLatencyClasses; ++i) {
        now.fault_latency[i] = counters_.fault_latency[i].value();
    }
    return now;
}

}  // namespace holdfast::memcrypt::software
