// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/conversation.hpp"

#include "guest_agent/agent/coprocess.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using group::Talk;

constexpr int kTurnMs = 20;
constexpr std::size_t kMaxLine = 60U << 10;  // bytes: with a name in front a message holds it
/// What waits for a program that does not listen. One that leaves more is not there for the others either.
constexpr std::size_t kMaxQueued = 1U << 20;

class Conversation {
public:
    Conversation(Board& board, Talk talk, const std::vector<std::string>& members, Coprocess program)
        : board_{&board}, talk_{std::move(talk)}, members_{&members}, program_{std::move(program)} {}

    Result<void> run() {
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
    Result<void> turn() {
        said_ += HF_TRY(program_.turn(kTurnMs, talk_.may_say()));
        for (std::size_t end = 0; (end = said_.find('\n')) != std::string::npos; said_.erase(0, end + 1)) {
            if (!talk_.is_alone()) HF_TRY(talk_.say(std::as_bytes(std::span{said_}.first(end))));
        }
        if (said_.size() > kMaxLine) return input_error("the program says a line that is too long");
        for (const std::string& member : *members_) HF_TRY(hear(member));
        const auto epoch = talk_.epoch();
        for (const Talk::Event& event : HF_TRY(talk_.turn(Talk::Moment::clock::now()))) tell(event);
        if (talk_.epoch() != epoch) {
            log::info("group_epoch", {{"number", talk_.epoch()}});
            of_this_epoch_ = board_->posted();
        }
        HF_TRY(post());
        if (talk_.is_alone()) program_.queue_end();
        return talk_.have_all_entered() ? board_->forget_before(of_this_epoch_) : Result<void>{};
    }
    Result<void> hear(const std::string& member) {
        while (talk_.hears(member) && program_.queued_bytes() < kMaxQueued) {
            const auto message = HF_TRY(board_->take(member));
            if (!message) break;
            const auto event = HF_TRY(talk_.hear(member, *message));
            if (event) tell(*event);
        }
        return {};
    }
    void tell(const Talk::Event& event) {
        std::string line{event.name};
        switch (event.kind) {
            case Talk::Kind::Line:
                line += ' ';
                for (const std::byte byte : event.line.bytes()) line += static_cast<char>(byte);
                break;
            case Talk::Kind::Left: log::info("member_left", {{"name", event.name}}); break;
            case Talk::Kind::LeftOut:
                log::warn("member_left_out", {{"name", event.name}, {"why", "nothing was heard of it"}});
                break;
        }
        if (event.kind != Talk::Kind::Line) line = std::string{kNotice} + ' ' + line;
        line += '\n';
        program_.queue(std::as_bytes(std::span{line}));
    }
    Result<void> post() {
        for (const auto& message : talk_.take_posts()) HF_TRY(board_->post(message));
        return {};
    }

    Board* board_;
    Talk talk_;
    const std::vector<std::string>* members_;
    Coprocess program_;
    std::string said_;                 ///< since the last line's end
    std::uint64_t of_this_epoch_ = 0;  ///< number of our first message that is
};

}  // namespace

Result<void> converse(Board& board, Talk talk, const std::vector<std::string>& members,
                      const std::vector<std::string>& program) {
    Conversation conversation{board, std::move(talk), members, HF_TRY(Coprocess::start(program))};
    const auto done = conversation.run();
    // The others need not find out by patience that nothing comes of us any more.
    if (!done) static_cast<void>(conversation.say_goodbye());
    return done;
}

}  // namespace holdfast::agent
