// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/conversation.hpp"

#include "guest_agent/agent/coprocess.hpp"
#include "guest_agent/agent/evidence.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using group::Talk;

using Clock = Talk::Moment::clock;

constexpr int kTurnMs = 20;
constexpr std::chrono::seconds kLook{1};     // at who asks to join
constexpr std::size_t kMaxLine = 60U << 10;  // bytes: with a name in front a message holds it
/// What waits for a program that does not listen. One that leaves more is not there for the others either.
constexpr std::size_t kMaxQueued = 1U << 20;

class Conversation {
public:
    Conversation(Board& board, Door* door, Talk talk, const std::vector<std::string>& members,
                 Coprocess program)
        : board_{&board},
          door_{door},
          talk_{std::move(talk)},
          members_{&members},
          program_{std::move(program)} {}

    Result<void> run() {
        HF_TRY(begin());
        while (!program_.has_ended()) HF_TRY(turn());
        // An epoch that ends is not left in its middle: the others would wait for us.
        while (!talk_.may_say() && !talk_.is_alone()) HF_TRY(turn());
        HF_TRY(say_goodbye());
        const Ending ending = HF_TRY(program_.wait());
        if (ending.signalled || ending.value != 0) return input_error("the program has failed");
        return {};
    }
    Result<void> say_goodbye() {
        if (!talk_.may_say() || talk_.is_alone()) return {};
        HF_TRY(talk_.say_goodbye());
        return post();
    }

private:
    Result<void> begin() {
        if (!door_) return {};
        for (const std::string& name : talk_.others()) notice(kCame, name);
        return announce();
    }
    Result<void> turn() {
        said_ += HF_TRY(program_.turn(kTurnMs, talk_.may_say()));
        for (const std::string& member : *members_) HF_TRY(hear(member));
        const auto epoch = talk_.epoch();
        for (const Talk::Event& event : HF_TRY(talk_.turn(Clock::now()))) tell(event);
        HF_TRY(say());
        HF_TRY(renew_if_due());
        HF_TRY(post());
        if (talk_.epoch() != epoch) log::info("group_epoch", {{"number", talk_.epoch()}});
        if (door_) HF_TRY(mind_door(talk_.epoch() != epoch));
        else if (talk_.is_alone()) program_.queue_end();
        return talk_.have_all_entered() ? board_->forget_before(talk_.epoch()) : Result<void>{};
    }
    /// Behind the turn: what the program said before an epoch was over may be for the next one, and for
    /// others than were there then.
    Result<void> say() {
        for (std::size_t end = 0; talk_.may_say() && (end = said_.find('\n')) != std::string::npos;
             said_.erase(0, end + 1)) {
            if (!talk_.is_alone()) HF_TRY(talk_.say(std::as_bytes(std::span{said_}.first(end))));
        }
        if (talk_.may_say() && said_.size() > kMaxLine)
            return input_error("the program says a line that is too long");
        return {};
    }
    Result<void> renew_if_due() {
        if (!talk_.is_renewal_due()) return {};
        auto evidence = HF_TRY(make_evidence(talk_.renewal_binding()));
        log::info("evidence_renewed");
        return talk_.renew(std::move(evidence));
    }
    Result<void> mind_door(bool is_new_epoch) {
        // In this order: who learns of the new epoch and has no invitation yet was not let in.
        if (const auto invitation = talk_.take_invitation()) HF_TRY(door_->invite(*invitation));
        if (is_new_epoch) HF_TRY(announce());
        if (Clock::now() < next_look_) return {};
        next_look_ = Clock::now() + kLook;
        return door_->look(talk_);
    }
    Result<void> announce() { return talk_.is_first() ? door_->announce(talk_.standing()) : Result<void>{}; }
    Result<void> hear(const std::string& member) {
        while (talk_.hears(member) && program_.queued_bytes() < kMaxQueued) {
            const auto message = HF_TRY(board_->take(member, talk_.epoch()));
            if (!message) break;
            const auto event = HF_TRY(talk_.hear(member, *message, Clock::now()));
            if (event) tell(*event);
        }
        return {};
    }
    void tell(const Talk::Event& event) {
        switch (event.kind) {
            case Talk::Kind::Line: return hand_over(event.name, event.line.bytes());
            case Talk::Kind::Joined:
                log::info("member_joined", {{"name", event.name}});
                return notice(kCame, event.name);
            case Talk::Kind::Left:
                log::info("member_left", {{"name", event.name}});
                return notice(kGone, event.name);
            case Talk::Kind::LeftOut:
                log::warn("member_left_out",
                          {{"name", event.name}, {"why", "it is silent, or its evidence is not accepted"}});
                return notice(kGone, event.name);
        }
    }
    void hand_over(const std::string& name, Bytes line) {
        program_.queue(text(name + ' '));
        program_.queue(line);
        program_.queue(text("\n"));
    }
    void notice(std::string_view what, const std::string& name) { hand_over(std::string{what}, text(name)); }
    Result<void> post() {
        for (const Talk::Post& post : talk_.take_posts()) HF_TRY(board_->post(post.epoch, post.message));
        return {};
    }

    Board* board_;
    Door* door_;  ///< none: nobody joins
    Talk talk_;
    const std::vector<std::string>* members_;
    Coprocess program_;
    Clock::time_point next_look_{};
    std::string said_;  ///< since the last line's end
};

}  // namespace

Result<void> converse(Board& board, Door* door, Talk talk, const std::vector<std::string>& members,
                      const std::vector<std::string>& program) {
    Conversation conversation{board, door, std::move(talk), members, HF_TRY(Coprocess::start(program))};
    const auto done = conversation.run();
    // The others need not find out by patience that nothing comes of us any more.
    if (!done) static_cast<void>(conversation.say_goodbye());
    return done;
}

}  // namespace holdfast::agent
