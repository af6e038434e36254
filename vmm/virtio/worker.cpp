// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/worker.hpp"

#include <algorithm>
#include <array>

#include "sys/log.hpp"
#include "sys/thread.hpp"

namespace holdfast::virtio {

namespace {

// Tokens of the poller: what became ready, and of which unit.
enum class Source : std::uint64_t { Signal, Watched };
constexpr std::uint64_t token(Source source, std::size_t unit = 0) noexcept {
    return static_cast<std::uint64_t>(source) << 32 | unit;
}

// Eventfds are watched edge-triggered: each signal is one event, and nobody has to read them empty,
// which would cost a system call for every wake-up.
constexpr std::uint32_t kSignalled = EPOLLIN | EPOLLET;

constexpr int kCompletionsPerTurn = 256;
/// Turns without a look at descriptors while there is work all the time.
constexpr unsigned kTurnsPerPoll = 64;
constexpr int kLongestSleepMs = 60'000;

}  // namespace

Result<std::unique_ptr<Worker>> Worker::create(io::Client* client,
                                               std::function<void(const Error&)> on_failure) {
    auto control = HF_TRY(EventFd::create());
    auto poller = HF_TRY(Poller::create());
    HF_TRY(poller.add(control.fd(), kSignalled, token(Source::Signal)));
    if (client != nullptr) {
        HF_TRY(poller.add(client->completions().fd(), kSignalled, token(Source::Signal)));
    }
    return std::unique_ptr<Worker>{
        new Worker{client, std::move(on_failure), std::move(control), std::move(poller)}};
}

Worker::Worker(io::Client* client, std::function<void(const Error&)> on_failure, EventFd control,
               Poller poller) noexcept
    : client_{client},
      on_failure_{std::move(on_failure)},
      control_{std::move(control)},
      poller_{std::move(poller)} {}

Worker::~Worker() {
    mode_.store(Mode::Quit);
    mode_.notify_all();
    control_.signal();
    if (thread_.joinable()) thread_.join();
}

Result<void> Worker::add(PciTransport& transport) {
    HF_TRY(poller_.add(transport.attention().fd(), kSignalled, token(Source::Signal)));
    units_.push_back({.transport = &transport});
    return {};
}

void Worker::start() {
    state_.store(State::Running);
    thread_ = named_thread("devices", [this] {
        loop();
        state_.store(State::Ended);
        state_.notify_all();
    });
}

void Worker::pause() noexcept {
    mode_.store(Mode::Pause);
    control_.signal();
    state_.wait(State::Running);
}

void Worker::resume() noexcept {
    mode_.store(Mode::Run);
    mode_.notify_all();
    // So that a pause() that follows does not take the old parking for its own.
    if (thread_.joinable()) state_.wait(State::Parked);
}

void Worker::loop() noexcept {
    unsigned turns = 0;
    for (;;) {
        // Before everything that an event may be about: it takes the edge, and a sleep that comes
        // without a look in between would miss what it stood for.
        if (++turns % kTurnsPerPoll == 0) poll(0);
        const Mode mode = mode_.load();
        if (mode == Mode::Quit) return;
        const bool worked = turn();
        if (failed_) return;
        if (mode == Mode::Pause && !worked && is_idle()) {
            park();
            continue;
        }
        const Clock::time_point now = Clock::now();
        if (worked) {
            spin_.worked(now);
        } else if (spin_.goes_on(now)) {
            __builtin_ia32_pause();
        } else {
            sleep(now);
            spin_.woke(now, Clock::now());
        }
    }
}

bool Worker::is_idle() const noexcept {
    return std::ranges::all_of(units_, [](const Unit& unit) { return unit.transport->device().is_idle(); });
}

/// Waits until the pause is over. Nothing of a device runs meanwhile.
void Worker::park() noexcept {
    state_.store(State::Parked);
    state_.notify_all();
    mode_.wait(Mode::Pause);
    state_.store(State::Running);
    state_.notify_all();
    for (Unit& unit : units_) unit.ready = true;
}

bool Worker::turn() noexcept {
    if (failed_) return false;
    bool worked = take_completions();
    const bool pausing = mode_.load() == Mode::Pause;
    for (Unit& unit : units_) {
        PciTransport& transport = *unit.transport;
        unit.ready |= transport.settle();
        // While pausing only what completions and descriptors bring goes on.
        if (unit.ready || (!pausing && transport.has_work())) {
            unit.ready = false;
            transport.run();
            worked = true;
        }
    }
    if (client_ != nullptr) client_->flush();
    for (Unit& unit : units_) unit.transport->publish();
    return worked;
}

bool Worker::take_completions() noexcept {
    if (client_ == nullptr) return false;
    bool any = false;
    for (int i = 0; i < kCompletionsPerTurn; ++i) {
        auto completion = client_->next_completion();
        if (!completion) {
            fail(completion.error());
            return any;
        }
        if (!*completion) break;
        any = true;
        for (Unit& unit : units_) {
            if (unit.transport->description().resource == (*completion)->resource) {
                unit.transport->complete(std::move(**completion));
                break;
            }
        }
    }
    // Room in the arena is room for every device, not only for the one that gave it back.
    if (any) {
        for (Unit& unit : units_) unit.ready = true;
    }
    return any;
}

bool Worker::may_sleep() noexcept {
    if (mode_.load() == Mode::Run) {
        for (Unit& unit : units_) {
            if (unit.transport->arm()) return false;
        }
    }
    return client_ == nullptr || client_->arm();
}

int Worker::timeout_ms(Clock::time_point now) const noexcept {
    std::chrono::milliseconds timeout{kLongestSleepMs};
    bool any = false;
    for (const Unit& unit : units_) {
        if (!unit.transport->is_running()) continue;
        const auto deadline = unit.transport->device().deadline();
        if (!deadline) continue;
        any = true;
        timeout = std::min(timeout, std::chrono::ceil<std::chrono::milliseconds>(
                                        std::max(*deadline - now, Clock::duration{0})));
    }
    return any ? static_cast<int>(timeout.count()) : -1;
}

void Worker::sleep(Clock::time_point now) noexcept {
    if (!may_sleep()) return;
    for (std::size_t i = 0; i < units_.size(); ++i) watch(i);
    poll(timeout_ms(now));
    const Clock::time_point awake = Clock::now();
    for (Unit& unit : units_) {
        if (!unit.transport->is_running()) continue;
        const auto deadline = unit.transport->device().deadline();
        if (deadline && *deadline <= awake) unit.ready = true;
    }
}

void Worker::poll(int timeout_ms) noexcept {
    std::array<epoll_event, 32> events;
    const auto ready = poller_.wait(events, timeout_ms);
    if (!ready) return fail(ready.error());
    for (const epoll_event& event : *ready) {
        // The rest only ends the sleep: turn() looks at rings and requests anyway.
        if (event.data.u64 >> 32 == static_cast<std::uint64_t>(Source::Watched)) {
            units_[event.data.u64 & 0xffffffff].ready = true;
        }
    }
}

/// Registers what the device wants watched now, where that has changed.
void Worker::watch(std::size_t index) noexcept {
    Unit& unit = units_[index];
    const auto [fd, wanted] = unit.transport->device().watch();
    if (fd == nullptr) return;
    const bool listens = unit.transport->is_running() && mode_.load() == Mode::Run;
    const std::uint32_t events = listens ? wanted : 0;
    if (events == unit.watched_events) return;
    Result<void> done;
    if (unit.watched_events == 0) {
        done = poller_.add(*fd, events, token(Source::Watched, index));
    } else if (events == 0) {
        done = poller_.remove(*fd);  // not merely no events: a hang-up would be reported still
    } else {
        done = poller_.change(*fd, events, token(Source::Watched, index));
    }
    if (!done) return fail(done.error());
    unit.watched_events = events;
}

void Worker::fail(const Error& error) noexcept {
    if (failed_) return;
    failed_ = true;
    on_failure_(error);
}

}  // namespace holdfast::virtio
