// SPDX-License-Identifier: Apache-2.0
#include "vtpm/state/anchored.hpp"

#include <array>
#include <cerrno>
#include <utility>

#include <openssl/rand.h>
#include <poll.h>

#include "sys/socket.hpp"
#include "vtpm/state/seal.hpp"

namespace holdfast::vtpm {
namespace {

using anchor::Denial;

// The anchor hears of a worker's end a moment after it: a VM may be started again at once.
constexpr int kStartTries = 100;
constexpr int kStartPauseMs = 20;
// A store that the anchor denies for its rate waits for a token or two; one that it denies for the day's
// budget would wait until tomorrow.
constexpr int kStoreTries = 10;
constexpr int kStorePauseMs = 50;

// SAFETY: bytes as unsigned char, for a C interface.
unsigned char* out(std::span<std::byte> bytes) { return reinterpret_cast<unsigned char*>(bytes.data()); }

Error denied(Denial why) { return input_error(anchor::denial_words(why)); }

/// True: the other end has hung up. Waits for it at most that long.
bool hung_up(const UniqueFd& socket, int wait_ms) {
    pollfd poll{.fd = socket.get(), .events = POLLIN | POLLRDHUP, .revents = 0};
    return ::poll(&poll, 1, wait_ms) > 0;  // it says nothing unasked, so this is its end
}

}  // namespace

Result<std::unique_ptr<Anchored>> Anchored::create(UniqueFd door, const Id& vm, const anchor::Digest& tenant,
                                                   Strictness strictness, Commit& disk) {
    std::unique_ptr<Anchored> anchored{new Anchored{std::move(door), vm, tenant, strictness, disk}};
    auto& instance = anchored->instance_;
    if (RAND_bytes(out(instance), static_cast<int>(instance.size())) != 1) {
        return Error{Fault::Os, 0, "draw an instance's id"};
    }
    return anchored;
}

Result<UniqueFd> Anchored::connect() {
    constexpr std::array<std::byte, 1> kAsk{};
    HF_TRY(send_message(door_, kAsk));
    Message answer = HF_TRY(receive_message(door_, 1));
    if (answer.fds.size() != 1) return peer_fault("the launcher has gone, and with it the way to the anchor");
    return std::move(answer.fds.front());
}

Result<anchor::Granted> Anchored::start() {
    anchor_ = HF_TRY(connect());
    for (int tries = 1;; ++tries) {
        auto answer = HF_TRY(
            anchor::ask(anchor_, anchor::StartAsk{.vm = vm_, .instance = instance_, .tenant = tenant_}));
        if (auto* granted = std::get_if<anchor::Granted>(&answer)) {
            const anchor::Granted out = *granted;
            wipe(granted->key);
            return out;
        }
        const auto* const no = std::get_if<anchor::Denied>(&answer);
        if (no == nullptr) return peer_fault("the anchor answers something else");
        if (no->why != Denial::AlreadyRunning || tries == kStartTries) return denied(no->why);
        if (hung_up(anchor_, kStartPauseMs)) return peer_fault("the anchor has gone");
    }
}

Result<Outcome> Anchored::commit(std::uint64_t version, std::span<const std::byte> sealed) {
    HF_TRY(disk_->commit(version, sealed));
    pending_ = {.version = version, .permanent = HF_TRY(digest_of(sealed)), .volatile_state = {}};
    return make_newest(kStoreTries);
}

Result<Outcome> Anchored::retry() { return make_newest(1); }

Result<Outcome> Anchored::make_newest(int tries) {
    while (pending_) {
        // The first one strictly: a power cut must not make it unknown that there is a state.
        const bool strict = strictness_ == Strictness::Strict || held_.version == 0;
        const auto answer = anchor::ask(anchor_, anchor::CommitAsk{.next = *pending_, .strict = strict});
        if (!answer) {
            HF_TRY(attach());
            continue;
        }
        if (std::holds_alternative<anchor::Committed>(*answer)) {
            held_ = *std::exchange(pending_, std::nullopt);
            break;
        }
        const auto* const no = std::get_if<anchor::Denied>(&*answer);
        if (no == nullptr) return peer_fault("the anchor answers something else");
        if (no->why != Denial::OverBudget) return denied(no->why);
        if (--tries == 0) return Outcome::PutOff;
        hung_up(anchor_, kStorePauseMs);
    }
    return Outcome::Newest;
}

Result<bool> Anchored::has_room() {
    while (true) {
        const auto answer =
            anchor::ask(anchor_, anchor::RoomAsk{.strict = strictness_ == Strictness::Strict});
        if (!answer) {
            HF_TRY(attach());
            continue;
        }
        if (const auto* room = std::get_if<anchor::Room>(&*answer)) return room->is_there;
        return peer_fault("the anchor answers something else");
    }
}

Result<void> Anchored::attach() {
    // Bounded by the lives of anchors: connect() waits until there is one.
    while (true) {
        anchor_ = HF_TRY(connect());
        auto answer = anchor::ask(
            anchor_, anchor::AttachAsk{.vm = vm_, .instance = instance_, .held = held_, .pending = pending_});
        if (!answer) continue;
        if (auto* granted = std::get_if<anchor::Granted>(&*answer)) {
            wipe(granted->key);  // held already
            if (pending_ && granted->leaf.version == pending_->version) {
                held_ = *std::exchange(pending_, std::nullopt);
            }
            return {};
        }
        const auto* const no = std::get_if<anchor::Denied>(&*answer);
        return no != nullptr ? denied(no->why) : peer_fault("the anchor answers something else");
    }
}

Result<void> Anchored::confirm() {
    if (!hung_up(anchor_, 0)) return {};
    return attach();
}

Result<void> Anchored::stop() {
    const auto answer = HF_TRY(anchor::ask(anchor_, anchor::StopAsk{}));
    if (!std::holds_alternative<anchor::Committed>(answer)) return peer_fault("the anchor does not stop it");
    return {};
}

}  // namespace holdfast::vtpm
