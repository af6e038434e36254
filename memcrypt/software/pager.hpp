// SPDX-License-Identifier: Apache-2.0
// The tier `software`: guest RAM is ciphertext but for a bounded clear window. pager.cpp makes it and answers
// questions, fault.cpp brings pages in, evict.cpp puts them away, ageing.cpp finds those not in use.
//
// What it does not do: the key and the window lie in this host's memory, for its root and for a capture of
// all DRAM to read; which pages the guest touches, and which are zero, is visible.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "memcrypt/cipher/page_cipher.hpp"
#include "memcrypt/software/ageing.hpp"
#include "memcrypt/software/neighbours.hpp"
#include "memcrypt/software/page_table.hpp"
#include "memcrypt/software/statistics.hpp"
#include "memcrypt/software/streams.hpp"
#include "memcrypt/software/views.hpp"
#include "memcrypt/software/window.hpp"
#include "sys/eventfd.hpp"
#include "sys/poller.hpp"
#include "sys/thread.hpp"

namespace holdfast::memcrypt::software {

struct Config {
    std::uint64_t window_bytes = 0;  ///< whole pages, at least Window::kMinPages of them
    std::chrono::milliseconds seal_after{30'000};
    Suite suite = kDefaultSuite;
    unsigned readers = 1;             ///< threads that bring pages in
    std::uint64_t pages_per_key = 0;  ///< 0: as many as the suite bears. Less: for tests
};

/// What the pager reports: one call, from any thread, and the VM must end. Whoever touched the page waits for
/// ever, so the process is left by _exit().
struct Events {
    std::function<void(std::uint32_t page)> tampered;
    std::function<void(const Error&)> failed;
};

/// Thread-safe. Its threads run from create() on.
class Pager {
public:
    /// `regions` says which region of guest RAM each page lies in: the first page of each, ascending.
    static Result<std::unique_ptr<Pager>> create(Views views, std::vector<std::uint32_t> regions,
                                                 const Config& config);
    /// Ends the threads. Nobody may wait for a page then, nor touch one later.
    ~Pager();
    Pager(const Pager&) = delete;
    Pager& operator=(const Pager&) = delete;

    /// Who hears what happens from here on, and what has happened before.
    void report_to(Events events);

    [[nodiscard]] std::span<std::byte> guest_view() const noexcept { return views_.guest(); }
    [[nodiscard]] std::uint64_t window_bytes() const noexcept { return config_.window_bytes; }
    /// Makes pages ready to be copied to or from by this process, so that the copy need not wait for a fault.
    /// A hint: they may be gone again by then. At most kMostReady pages.
    static constexpr std::uint32_t kMostReady = 16;
    Result<void> make_ready(std::uint32_t first, std::uint32_t count);

    /// Seals every page that is clear. Call it while the guest does not run, or pages come back at once.
    Result<void> seal_all();
    /// Pages that a device reaches: clear and mapped until protect(), outside of the window's bound. After an
    /// error the VM must end.
    Result<void> exempt(std::uint32_t first, std::uint32_t count);
    /// Takes exempt pages back into the encrypted set.
    Result<void> protect(std::uint32_t first, std::uint32_t count);
    /// Wipes clear pages and keys: nothing can be read any more. The guest must not run.
    void wipe() noexcept;

    [[nodiscard]] Statistics statistics() const;

private:
    static constexpr std::uint32_t kBatch = 64;       ///< pages a turn of the evictor
    static constexpr std::uint32_t kMostAhead = 256;  ///< pages opened at one fault

    /// What each thread that opens or seals pages needs for itself.
    struct Worker {
        std::array<std::unique_ptr<PageCipher>, 2> ciphers;  ///< by epoch
        std::array<std::uint64_t, 2> key_numbers{};          ///< which keys they have
        SecretBytes page;                                    ///< a page on its way; wiped after use
        [[nodiscard]] PageBytes buffer() noexcept { return page.bytes().first<kPageSize>(); }
    };
    /// Pages that one thread is bringing in, and what they were.
    struct Load {
        struct Entry {
            std::uint32_t page;
            PageState from;
        };
        std::array<Entry, kMostAhead + 1> entries;
        std::uint32_t count = 0;
        [[nodiscard]] std::span<Entry> all() noexcept { return std::span{entries}.first(count); }
    };
    enum class Plan : std::uint8_t { Load, NoRoom, Wake, Nothing };

    Pager(Views views, std::vector<std::uint32_t> regions, const Config& config, PageTable pages,
          std::array<SecretKey, 2> keys, const VmId& vm) noexcept;
    Result<void> start();
    Result<std::unique_ptr<Worker>> make_worker();
    void stop_threads() noexcept;

    // fault.cpp
    void read_faults(std::size_t stripe) noexcept;
    Result<void> on_fault(Worker& worker, std::uint32_t page);
    Result<void> make_room_ahead(Worker& worker);
    Plan plan(std::uint32_t page, Load& load) HF_REQUIRES(lock_);
    void plan_ahead(std::uint32_t page, Load& load) HF_REQUIRES(lock_);
    void plan_neighbours(std::uint32_t page, Load& load) HF_REQUIRES(lock_);
    [[nodiscard]] std::uint32_t open_from(std::uint32_t page, int direction) const HF_REQUIRES(lock_);
    void plan_cluster(std::uint32_t page, Load& load) HF_REQUIRES(lock_);
    void claim(std::uint32_t page, PageState from, Load& load) HF_REQUIRES(lock_);
    Result<void> bring_in(Worker& worker, std::span<Load::Entry> entries);
    Result<void> populate(std::span<const Load::Entry> sorted) const;
    Result<void> open(Worker& worker, const Load::Entry& entry);
    void admit(std::span<const Load::Entry> entries);

    // evict.cpp
    void evict_loop() noexcept;
    Result<void> evict_until_enough(Worker& worker);
    Result<std::uint32_t> make_room(Worker& worker, std::uint32_t pages);
    Result<void> unmap(std::span<std::uint32_t> pages);
    Result<void> seal(Worker& worker, std::span<const std::uint32_t> pages);
    std::size_t take_wanted(std::span<const std::uint32_t> pages, std::span<std::uint32_t> out) noexcept
        HF_REQUIRES(lock_);
    void wake_evictor_if_low() noexcept;
    [[nodiscard]] std::uint32_t low_water() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint32_t high_water() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint32_t room_ahead() const noexcept HF_REQUIRES(lock_);
    [[nodiscard]] std::uint32_t still_closed() const noexcept HF_REQUIRES(lock_);

    // keys.cpp
    std::uint8_t begin_sealing(Worker& worker, std::uint32_t pages);
    void sync_key(Worker& worker, std::uint8_t epoch);
    Result<void> change_key_if_due(Worker& worker);
    Result<void> reseal(Worker& worker, std::uint32_t page, std::uint8_t from);

    // ageing.cpp
    Result<void> age(Worker& worker, std::uint32_t clusters);
    Result<void> age_cluster(Worker& worker, std::uint32_t cluster);

    [[nodiscard]] PageIdentity identity(std::uint32_t page) noexcept;
    Error tampered(std::uint32_t page);
    void fail(const Error& error) noexcept;
    void report() noexcept;

    const Config config_;
    const VmId vm_;
    Views views_;
    const std::vector<std::uint32_t> regions_;
    Counters counters_;

    mutable Mutex lock_;
    PageTable pages_;  ///< states and counts by anyone, the rest under lock_ or as the page's owner
    Window window_ HF_GUARDED_BY(lock_);
    Streams streams_ HF_GUARDED_BY(lock_);
    Neighbours neighbours_ HF_GUARDED_BY(lock_);
    std::uint32_t wanted_ahead_ HF_GUARDED_BY(lock_) = 0;  ///< how far streams looked ahead lately
    std::uint32_t most_clear_ HF_GUARDED_BY(lock_) = 0;

    std::vector<Cluster> clusters_ HF_GUARDED_BY(lock_);  ///< what ageing knows of each
    std::uint32_t next_cluster_ HF_GUARDED_BY(lock_) = 0;
    std::uint32_t age_round_ HF_GUARDED_BY(lock_) = 0;

    std::array<SecretKey, 2> keys_ HF_GUARDED_BY(lock_);  ///< the one in use, and the one before
    std::array<std::uint64_t, 2> key_numbers_ HF_GUARDED_BY(lock_) = {1, 0};
    std::array<std::uint32_t, 2> sealed_with_ HF_GUARDED_BY(lock_) = {0, 0};
    std::uint8_t epoch_ HF_GUARDED_BY(lock_) = 0;
    std::uint64_t sealings_left_ HF_GUARDED_BY(lock_);

    std::vector<std::unique_ptr<Worker>> readers_;
    std::unique_ptr<Worker> evictor_;
    Mutex visitor_lock_;  ///< make_ready() and its like, from threads that are not ours; before lock_
    std::unique_ptr<Worker> visitor_ HF_GUARDED_BY(visitor_lock_);

    Mutex report_lock_;
    Events events_ HF_GUARDED_BY(report_lock_);
    std::optional<Error> failure_ HF_GUARDED_BY(report_lock_);
    std::optional<std::uint32_t> tampered_page_ HF_GUARDED_BY(report_lock_);
    bool reported_ HF_GUARDED_BY(report_lock_) = false;

    std::atomic<bool> stopping_{false};
    std::atomic<bool> evictor_sleeps_{false};
    EventFd evictor_wake_{UniqueFd{}};
    EventFd readers_stop_{UniqueFd{}};
    std::vector<Poller> reader_pollers_;
    std::optional<Poller> evictor_poller_;
    std::vector<std::jthread> threads_;  // last: they use everything above
};

}  // namespace holdfast::memcrypt::software
