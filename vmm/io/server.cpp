// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/server.hpp"

#include <algorithm>
#include <cerrno>

#include <unistd.h>

#include "sys/log.hpp"

namespace holdfast::io {
namespace {

constexpr std::uint32_t kBothEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
/// Requests taken before what they started is handed to the kernel and completions are shown.
constexpr int kBatch = 64;
/// While the ring is busy, how often the other descriptors are looked at.
constexpr int kRoundsBetweenLooks = 32;
constexpr std::chrono::milliseconds kLastWords{1000};

}  // namespace

Result<std::unique_ptr<Server>> Server::create(LaunchConfig config, const UniqueFd& handover,
                                               DiskEngine engine) {
    RequestRing ring = HF_TRY(RequestRing::create(config.memory, EventFd{std::move(config.requests)},
                                                  EventFd{std::move(config.completions)}));
    Poller poller = HF_TRY(Poller::create());
    std::unique_ptr<Server> server{new Server{handover, std::move(poller), std::move(ring)}};
    HF_TRY(server->attach(std::move(config), engine));
    return server;
}

Result<void> Server::attach(LaunchConfig config, DiskEngine engine) {
    HF_TRY(set_nonblocking(handover_));
    HF_TRY(set_nonblocking(ring_.wake_up().fd()));
    HF_TRY(watch(handover_, EPOLLIN, Source::Handover));
    HF_TRY(watch(ring_.wake_up().fd(), EPOLLIN, Source::Requests));

    disks_.emplace(HF_TRY(Disks::create(std::move(config.disks), ring_, engine)));
    if (disks_->readable() != nullptr) HF_TRY(watch(*disks_->readable(), EPOLLIN, Source::Disks));

    console_.emplace(
        HF_TRY(Console::create(std::move(config.console_guest), std::move(config.console_listener),
                               std::move(config.console_client), std::move(config.console_log), now_)));
    const auto console_id = [](Console::Source source) { return static_cast<std::uint32_t>(source); };
    HF_TRY(watch(console_->guest(), kBothEdges, Source::Console, console_id(Console::Source::Guest)));
    HF_TRY(watch(console_->listener(), EPOLLIN | EPOLLET, Source::Console,
                 console_id(Console::Source::Listener)));
    if (console_->client()) HF_TRY(watch_client(console_->client()));

    if (config.net) {
        net_.emplace(HF_TRY(Net::create(std::move(config.net), config.net_kind, ring_)));
        HF_TRY(watch(net_->descriptor(), kBothEdges, Source::Net));
    }
    if (config.vsock_cid != 0) {
        vsock_.emplace(HF_TRY(Vsock::create(std::move(config.vsock_listener), ring_, *this)));
        if (vsock_->listener()) {
            HF_TRY(watch(vsock_->listener(), EPOLLIN | EPOLLET, Source::VsockListener));
        }
    }
    return {};
}

Result<void> Server::watch(const UniqueFd& fd, std::uint32_t events, Source source, std::uint32_t id) {
    return poller_.add(fd, events, static_cast<std::uint64_t>(source) << 32 | id);
}
Result<void> Server::watch_stream(const UniqueFd& stream, std::uint32_t id) {
    return watch(stream, kBothEdges, Source::VsockStream, id);
}
Result<void> Server::watch_client(const UniqueFd& client) {
    return watch(client, kBothEdges, Source::Console, static_cast<std::uint32_t>(Console::Source::Client));
}
Result<void> Server::ask_for_connection(const VsockConnect& request) {
    return send_report(handover_, request);
}

std::vector<int> Server::descriptors() const {
    std::vector<int> all{STDERR_FILENO, handover_.get(), poller_.fd().get()};
    ring_.list_descriptors(all);
    disks_->list_descriptors(all);
    console_->list_descriptors(all);
    if (net_) all.push_back(net_->descriptor().get());
    if (vsock_ && vsock_->listener()) all.push_back(vsock_->listener().get());
    return all;
}

Result<bool> Server::take_requests() {
    bool any = false;
    for (int i = 0; i < kBatch; ++i) {
        const auto job = HF_TRY(ring_.take());
        if (!job) break;
        any = true;
        if (static_cast<std::uint8_t>(job->resource) < kMaxDisks) disks_->start(*job);
        else if (job->resource == kNet && net_) net_->start(*job);
        else if (job->resource == kVsock && vsock_) vsock_->start(*job, now_);
        else ring_.complete(*job, Status::Unsupported);
    }
    return any;
}

// One pass over everything; true when anything moved.
Result<bool> Server::round() {
    bool any = HF_TRY(take_requests());
    HF_TRY(disks_->submit());
    any |= disks_->reap();
    if (net_) any |= net_->turn();
    if (vsock_) any |= vsock_->turn(now_);
    any |= console_->turn(*this, now_);
    if (console_->guest_closed() && !last_words_) last_words_ = now_ + kLastWords;
    ring_.publish();
    return any;
}

Result<void> Server::run() {
    int rounds = 0;
    while (!over()) {
        if (HF_TRY(round())) {
            if (++rounds % kRoundsBetweenLooks == 0) HF_TRY(wait(false));
            continue;
        }
        if (spin_.spin([this] { return ring_.pending() || disks_->reapable(); })) continue;
        if (!ring_.arm()) continue;
        const auto before = Clock::now();
        HF_TRY(wait(true));
        spin_.slept(static_cast<std::uint64_t>((now_ - before).count()));
    }
    return {};
}

bool Server::over() const noexcept {
    return launcher_gone_ || (last_words_ && (console_->finished() || now_ >= *last_words_));
}

int Server::timeout_ms() const noexcept {
    auto deadline = console_->deadline();
    const auto sooner = [&deadline](std::optional<Clock::time_point> other) {
        if (other && (!deadline || *other < *deadline)) deadline = other;
    };
    if (vsock_) sooner(vsock_->deadline());
    sooner(last_words_);
    if (!deadline) return -1;
    // Rounded up, so that the deadline has passed when we look.
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

Result<void> Server::wait(bool block) {
    std::array<epoll_event, 32> room;
    const auto events = poller_.wait(room, block ? timeout_ms() : 0);
    ring_.disarm();
    now_ = Clock::now();
    if (!events) return events.error();
    for (const epoll_event& event : *events) HF_TRY(handle(event.data.u64, event.events));
    return {};
}

Result<void> Server::handle(std::uint64_t token, std::uint32_t events) {
    const auto id = static_cast<std::uint32_t>(token);
    switch (static_cast<Source>(token >> 32)) {
        case Source::Handover: return take_answers();
        case Source::Requests: ring_.wake_up().drain(); return {};
        case Source::Disks: return {};  // reaped every round
        case Source::Net: net_->event(events); return {};
        case Source::VsockListener: vsock_->listener_event(); return {};
        case Source::VsockStream: vsock_->event(id, events); return {};
        case Source::Console: console_->event(static_cast<Console::Source>(id), events); return {};
    }
    return {};
}

// One message a wake-up: level-triggered, so the next one wakes us again.
Result<void> Server::take_answers() {
    auto answer = receive_answer(handover_);
    if (!answer) {
        if (answer.error().os_errno == EAGAIN) return {};
        return answer.error();
    }
    if (!*answer) {
        launcher_gone_ = true;
        return {};
    }
    if (vsock_) vsock_->answer(std::move(**answer), now_);
    return {};
}

}  // namespace holdfast::io
