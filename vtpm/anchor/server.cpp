// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/server.hpp"

#include <algorithm>
#include <cerrno>

#include "sys/log.hpp"
#include "sys/socket.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::uint64_t kHandover = 0;
constexpr std::uint64_t kListener = 1;
constexpr int kMaxAccepts = 64;

}  // namespace

Result<Server> Server::create(const UniqueFd& handover, UniqueFd listener, Clerk& clerk) {
    Poller poller = HF_TRY(Poller::create());
    HF_TRY(poller.add(handover, EPOLLIN, kHandover));
    HF_TRY(poller.add(listener, EPOLLIN, kListener));
    return Server{std::move(listener), clerk, std::move(poller)};
}

Result<void> Server::run() {
    while (!over_) {
        HF_TRY(gather(timeout_ms()));
        HF_TRY(clerk_.checkpoint_if_due(Clerk::Clock::now()));
        if (!clerk_.has_questions()) continue;
        auto replies = HF_TRY(clerk_.settle(Clerk::Clock::now()));
        for (Clerk::Reply& each : replies) {
            const auto client = clients_.find(each.client);
            if (client == clients_.end()) continue;
            auto bytes = encode(each.answer);
            // One answer is outstanding at most, so there is room; a client that cannot be told is gone.
            const bool told = send_message(client->second, bytes).has_value();
            wipe(bytes);
            if (auto* granted = std::get_if<Granted>(&each.answer)) wipe(granted->key);
            if (!told) drop(each.client);
        }
    }
    return {};
}

int Server::timeout_ms() const {
    if (clerk_.has_questions()) return 0;
    const auto due = clerk_.checkpoint_due();
    if (!due) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*due - Clerk::Clock::now()).count();
    return static_cast<int>(std::clamp<decltype(left)>(left, 0, 3'600'000));
}

Result<void> Server::gather(int timeout_ms) {
    for (const epoll_event& event : HF_TRY(poller_.wait(events_, timeout_ms))) {
        if (event.data.u64 == kHandover) over_ = true;  // it says nothing more, so this is its end
        else if (event.data.u64 == kListener) accept_clients();
        else hear(event.data.u64);
    }
    return {};
}

void Server::accept_clients() {
    for (int i = 0; i < kMaxAccepts; ++i) {
        auto client = accept_unix(listener_);
        if (!client) {
            if (client.error().os_errno != EAGAIN) log::warn("anchor.accept", client.error());
            return;
        }
        // One too many is closed at once, and sees it.
        if (clients_.size() >= kMaxClients) continue;
        const ClientId id = next_++;
        if (!poller_.add(*client, EPOLLIN, id)) continue;
        clients_.emplace(id, std::move(*client));
    }
}

void Server::hear(ClientId client) {
    const auto at = clients_.find(client);
    if (at == clients_.end()) return;
    const auto message = receive_message(at->second, kMaxAskBytes);
    if (!message && message.error().os_errno == EAGAIN) return;
    if (!message || message->bytes.empty()) return drop(client);
    const auto asked = decode_ask(message->bytes);
    if (!asked) {
        log::warn("anchor.client", asked.error());
        return drop(client);
    }
    if (const auto taken = clerk_.take(client, *asked); !taken) {
        log::warn("anchor.client", taken.error());
        drop(client);
    }
}

void Server::drop(ClientId client) {
    clerk_.client_gone(client);
    clients_.erase(client);  // closing takes it out of the poller
}

}  // namespace holdfast::anchor
