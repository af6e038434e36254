// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/exchange.hpp"

#include <algorithm>

#include "guest_agent/agent/coprocess.hpp"
#include "sys/log.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent {
namespace {

using Clock = std::chrono::steady_clock;

// A message's first byte; then bytes, their number, or nothing.
constexpr std::byte kData{1};
constexpr std::byte kTaken{2};
constexpr std::byte kEnd{3};

/// Bytes that are said and that the other program has not taken. What is on the way fits into what sockets
/// buffer, so that nobody waits in a send for somebody who waits in one too.
constexpr std::size_t kWindow = 64U << 10;
constexpr std::chrono::seconds kPatience{60};   // for one message
constexpr std::chrono::seconds kEvidence{300};  // both hosts' TPMs quote, each for all its guests
constexpr int kLookMs = 500;                    // whether it is time to renew

class Exchange {
public:
    Exchange(channel::Channel& channel, Coprocess program, std::chrono::seconds renewal)
        : channel_{&channel}, program_{std::move(program)}, renewal_{renewal} {}

    Result<void> run() {
        while (!is_over() || program_.queued_bytes() != 0) {
            HF_TRY(say());
            // Behind its end the other side still says how much it has taken; behind both it may be gone.
            while (!is_over() && channel_->is_readable()) HF_TRY(hear());
            HF_TRY(acknowledge());
            HF_TRY(renew_if_due());
            if (!is_over() && channel_->is_due())
                return peer_fault("the other side of a channel has not shown evidence again in time");
        }
        const Ending ending = HF_TRY(program_.wait());
        if (ending.signalled || ending.value != 0) return input_error("the program has failed");
        return {};
    }

private:
    [[nodiscard]] bool is_over() const noexcept { return has_said_all_ && has_heard_all_; }
    Result<void> send(std::byte kind, Bytes rest) {
        std::vector<std::byte> message{kind};
        message.insert(message.end(), rest.begin(), rest.end());
        return channel_->send(message, Clock::now() + kPatience);
    }
    Result<void> say() {
        const bool may_say = said_ - taken_ < kWindow;
        const UniqueFd* const wakes = is_over() ? nullptr : &channel_->socket();
        // A renewal may have left messages that no socket tells of.
        const int wait_ms = !is_over() && channel_->is_readable() ? 0 : kLookMs;
        const std::string said = HF_TRY(program_.turn(wait_ms, may_say, wakes));
        if (!said.empty()) {
            said_ += said.size();
            HF_TRY(send(kData, std::as_bytes(std::span{said})));
        }
        if (!program_.has_ended() || has_said_all_) return {};
        has_said_all_ = true;
        return send(kEnd, {});
    }
    Result<void> hear() {
        // It may be that the client renews, and stands still in the middle of it: what it had shown expires.
        const auto left = std::min<BootClock::duration>(kEvidence, channel_->time_left());
        const auto message = HF_TRY(channel_->take(Clock::now() + left));
        if (!message) {
            log::info("channel_renewed");
            return {};
        }
        const Bytes bytes = message->bytes();
        if (bytes.empty()) return peer_fault("an empty message on a channel");
        const Bytes rest = bytes.subspan(1);
        switch (bytes.front()) {
            case kData: return hear_data(rest);
            case kTaken: return hear_taken(rest);
            case kEnd:
                has_heard_all_ = true;
                program_.queue_end();
                return {};
            default: return peer_fault("a message of a channel of a kind that is not known");
        }
    }
    Result<void> hear_data(Bytes bytes) {
        if (has_heard_all_) return peer_fault("the other side of a channel goes on behind its end");
        if (program_.queued_bytes() + bytes.size() > 2 * kWindow)
            return peer_fault("the other side of a channel says more than was taken");
        heard_ += bytes.size();
        program_.queue(bytes);
        return {};
    }
    Result<void> hear_taken(Bytes number) {
        Le<std::uint64_t> taken{};
        if (number.size() != sizeof taken) return peer_fault("a number of another size");
        std::ranges::copy(number, std::as_writable_bytes(std::span{&taken, 1}).begin());
        if (taken.get() > said_ || taken.get() < taken_) return peer_fault("more was taken than was said");
        taken_ = taken.get();
        return {};
    }
    /// How much the program has taken so far. After the other side's end nobody waits for it.
    Result<void> acknowledge() {
        const std::uint64_t taken = heard_ - program_.queued_bytes();
        if (has_heard_all_ || taken == acknowledged_) return {};
        acknowledged_ = taken;
        const Le<std::uint64_t> number{taken};
        return send(kTaken, std::as_bytes(std::span{&number, 1}));
    }
    /// Not behind our end: the other side may be gone then.
    Result<void> renew_if_due() {
        const bool is_client = channel_->role() == attest::ChannelRole::Client;
        if (!is_client || has_said_all_ || Clock::now() - renewed_ < renewal_) return {};
        HF_TRY(channel_->renew(Clock::now() + kEvidence));
        renewed_ = Clock::now();
        log::info("channel_renewed");
        return {};
    }

    channel::Channel* channel_;
    Coprocess program_;
    std::chrono::seconds renewal_;
    Clock::time_point renewed_ = Clock::now();
    std::uint64_t said_ = 0;
    std::uint64_t taken_ = 0;  ///< of what we said, by the other program
    std::uint64_t heard_ = 0;
    std::uint64_t acknowledged_ = 0;
    bool has_said_all_ = false;
    bool has_heard_all_ = false;
};

}  // namespace

Result<void> exchange(channel::Channel& channel, const std::vector<std::string>& program,
                      std::chrono::seconds renewal) {
    return Exchange{channel, HF_TRY(Coprocess::start(program)), renewal}.run();
}

}  // namespace holdfast::agent
