// SPDX-License-Identifier: Apache-2.0
// A group that lives: in any order of turns and with any delay of the carrier, no line is lost between
// epochs, nobody waits for ever for who is gone, and who was away for too long finds out.
#include "guest_agent/group/talk.hpp"

#include <gtest/gtest.h>
#include <random>

#include "tests/unit/guest_agent/group/world.hpp"

namespace holdfast::agent::group {
namespace {

constexpr Pace kPace{.rotation = std::chrono::seconds{100}, .patience = std::chrono::seconds{20}};

std::string words_of(Bytes bytes) {
    std::string words;
    for (const std::byte byte : bytes) words += static_cast<char>(byte);
    return words;
}

/// One guest's agent and program.
struct Speaker {
    std::string name;
    FakePolicy policy;
    FakeCounter counter;
    std::optional<Talk> talk;
    std::vector<std::vector<std::byte>> posted{};
    std::map<std::string, std::size_t> read{};  ///< of what others have posted
    std::map<std::string, std::vector<std::string>> heard{};
    std::vector<std::string> said{};
    std::vector<std::string> left{};
    std::vector<std::string> left_out{};
    std::optional<Error> failed{};
    bool is_there = true;

    Speaker(std::string own, const FakeMachine& machine) : name{std::move(own)}, policy{machine} {}
};

class Room {
public:
    explicit Room(std::size_t size, std::uint64_t seed = 1) : random_{seed} {
        for (std::size_t i = 0; i < size; ++i)
            speakers.push_back(std::make_unique<Speaker>("g" + std::to_string(i), machine_));
        Speaker& first = *speakers.front();
        Member founder =
            *Member::found(settings_of(first.name), machine_.evidence(), first.policy, first.counter);
        std::vector<Applicant> applicants;
        std::vector<std::vector<std::byte>> packages;
        for (std::size_t i = 1; i < size; ++i) {
            applicants.push_back(*Applicant::create(settings_of(speakers[i]->name), founder.transcript(),
                                                    machine_.evidence()));
            packages.push_back(applicants.back().package());
        }
        const CommitMessages next = *founder.commit({}, packages);
        EXPECT_TRUE(founder.receive(next.commit));
        first.talk.emplace(std::move(founder), kPace, now);
        for (std::size_t i = 1; i < size; ++i) {
            Speaker& one = *speakers[i];
            one.talk.emplace(*Member::join(std::move(applicants[i - 1]), next.welcome, next.commit,
                                           one.policy, one.counter),
                             kPace, now);
        }
    }

    void say(Speaker& one, std::string line) {
        ASSERT_TRUE(one.talk->say(std::as_bytes(std::span{line})));
        one.said.push_back(std::move(line));
    }
    void leave(Speaker& one) {
        ASSERT_TRUE(one.talk->say_goodbye());
        post(one);
        one.is_there = false;
    }
    /// What the carrier lets through for now: all, nothing, or of each member something.
    enum class Carrier : std::uint8_t { Prompt, Mute, Slow };
    void turn(Speaker& one, Carrier carrier = Carrier::Prompt) {
        if (one.failed || !one.is_there) return;
        for (const auto& other : speakers)
            hear(one, *other, carrier == Carrier::Prompt ? 1000 : carrier == Carrier::Slow ? pick(3) : 0);
        if (one.failed) return;
        auto events = one.talk->turn(now);
        if (!events) one.failed = events.error();
        else
            for (const Talk::Event& event : *events) take(one, event);
        post(one);
    }
    /// Everybody in turn, until nothing new is said.
    void settle(int rounds = 12) {
        for (int round = 0; round < rounds; ++round) {
            for (const auto& one : speakers) turn(*one);
        }
    }
    std::size_t pick(std::size_t below) { return random_() % below; }

    std::vector<std::unique_ptr<Speaker>> speakers;
    Talk::Moment now{};

private:
    void post(Speaker& one) {
        for (auto& message : one.talk->take_posts()) one.posted.push_back(std::move(message));
    }
    void hear(Speaker& one, Speaker& other, std::size_t most) {
        std::size_t& at = one.read[other.name];
        for (; !one.failed && most > 0 && at < other.posted.size() && one.talk->hears(other.name); --most) {
            const auto event = one.talk->hear(other.name, other.posted[at++]);
            if (!event) one.failed = event.error();
            else if (*event) take(one, **event);
        }
    }
    static void take(Speaker& one, const Talk::Event& event) {
        switch (event.kind) {
            case Talk::Kind::Line: one.heard[event.name].push_back(words_of(event.line.bytes())); break;
            case Talk::Kind::Left: one.left.push_back(event.name); break;
            case Talk::Kind::LeftOut: one.left_out.push_back(event.name); break;
        }
    }

    FakeMachine machine_;
    std::mt19937_64 random_;
};

TEST(Talk, ANewEpochBeginsWhenItsTimeHasCome) {
    Room room{3};
    room.settle();
    EXPECT_EQ(room.speakers[0]->talk->epoch(), 1U);
    room.now += kPace.rotation;
    room.settle();
    for (const auto& one : room.speakers) {
        EXPECT_EQ(one->talk->epoch(), 2U) << one->name;
        EXPECT_TRUE(one->talk->have_all_entered());
    }
}

TEST(Talk, WhoSaysGoodbyeIsInNoLaterEpoch) {
    Room room{3};
    room.settle();
    room.say(*room.speakers[0], "last");
    room.leave(*room.speakers[0]);
    room.settle();
    for (const std::size_t i : {1U, 2U}) {
        const Speaker& one = *room.speakers[i];
        EXPECT_EQ(one.heard.at("g0"), std::vector<std::string>{"last"});
        EXPECT_EQ(one.left, std::vector<std::string>{"g0"});
        EXPECT_TRUE(one.left_out.empty());
        EXPECT_EQ(one.talk->epoch(), 2U) << one.name;
    }
}

TEST(Talk, TheLastOneIsAlone) {
    Room room{2};
    room.settle();
    room.leave(*room.speakers[1]);
    room.settle();
    EXPECT_TRUE(room.speakers[0]->talk->is_alone());
    EXPECT_FALSE(room.speakers[0]->failed);
}

class TalkWithoutOne : public ::testing::TestWithParam<std::size_t> {};

// The first in the roster is the one that should commit; it may be the one that is gone.
TEST_P(TalkWithoutOne, WhoIsSilentIsLeftOutAfterThePatience) {
    Room room{3};
    room.settle();
    Speaker& silent = *room.speakers[GetParam()];
    silent.is_there = false;
    room.now += kPace.rotation;
    room.settle();
    for (const auto& one : room.speakers) EXPECT_EQ(one->talk->epoch(), 1U) << one->name;
    room.now += 3 * kPace.patience;
    room.settle();
    for (const auto& one : room.speakers) {
        if (one.get() == &silent) continue;
        ASSERT_FALSE(one->failed) << one->failed->what;
        EXPECT_EQ(one->talk->epoch(), 2U) << one->name;
        EXPECT_EQ(one->left_out, std::vector<std::string>{silent.name}) << one->name;
    }
    // It was paused, and comes back.
    silent.is_there = true;
    room.settle();
    ASSERT_TRUE(silent.failed);
    EXPECT_NE(std::string_view{silent.failed->what}.find("left this guest out"), std::string_view::npos);
}
INSTANTIATE_TEST_SUITE_P(Each, TalkWithoutOne, ::testing::Values(0U, 1U, 2U));

TEST(Talk, WhoseMessagesTheCarrierKeepsBackGoesOnAloneOrEnds) {
    Room room{3};
    room.settle();
    for (int patience = 0; patience < 12; ++patience) {
        room.now += kPace.rotation;
        for (const auto& one : room.speakers) room.turn(*one, Room::Carrier::Mute);
    }
    for (const auto& one : room.speakers) EXPECT_TRUE(one->failed || one->talk->is_alone()) << one->name;
}

TEST(Talk, ManyMessagesEndAnEpochToo) {
    Room room{2};
    room.settle();
    for (int i = 0; i < 400; ++i) room.say(*room.speakers[0], "x");
    room.settle();
    EXPECT_EQ(room.speakers[1]->heard.at("g0").size(), 400U);
    EXPECT_EQ(room.speakers[1]->talk->epoch(), 2U);
}

TEST(Talk, WhatOneMemberPostedIsNoWordOfAnother) {
    Room room{3};
    room.settle();
    room.say(*room.speakers[0], "pay bob");
    const auto message = room.speakers[0]->talk->take_posts().back();
    const auto heard = room.speakers[1]->talk->hear("g2", message);
    ASSERT_FALSE(heard);
    EXPECT_EQ(heard.error().fault, Fault::Peer);
}

TEST(Talk, NothingIsSaidWhileAnEpochEnds) {
    Room room{2};
    room.settle();
    room.now += kPace.rotation;
    room.turn(*room.speakers[0]);
    EXPECT_FALSE(room.speakers[0]->talk->may_say());
    room.settle();
    EXPECT_TRUE(room.speakers[0]->talk->may_say());
}

/// Turns in any order, lines and epochs at any moment, a carrier that delays, one that leaves and one that
/// dies.
TEST(Talk, InAnyOrderNoLineIsLostAndNobodyWaitsForEver) {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        Room room{2 + seed % 5, seed};
        const std::size_t leaves = room.pick(2 * room.speakers.size());
        const std::size_t dies = room.pick(2 * room.speakers.size());
        for (int step = 0; step < 600; ++step) {
            Speaker& one = *room.speakers[room.pick(room.speakers.size())];
            if (one.is_there && !one.failed && one.talk->may_say()) {
                if (step > 300 && leaves < room.speakers.size() && &one == room.speakers[leaves].get()) {
                    room.leave(one);
                } else if (room.pick(3) == 0) {
                    room.say(one, one.name + " " + std::to_string(step));
                }
            }
            if (step == 400 && dies < room.speakers.size()) room.speakers[dies]->is_there = false;
            room.turn(one, Room::Carrier::Slow);
            if (room.pick(10) == 0) room.now += std::chrono::seconds{room.pick(8)};
        }
        // Nobody is away for longer than the patience of the others.
        for (auto passed = 0 * kPace.patience; passed < 6 * kPace.rotation; passed += kPace.patience / 2) {
            room.now += kPace.patience / 2;
            room.settle(3);
        }
        for (const auto& one : room.speakers) {
            if (!one->is_there) continue;
            ASSERT_FALSE(one->failed) << "seed " << seed << ": " << one->failed->what;
            EXPECT_TRUE(one->talk->is_alone() || one->talk->epoch() > 4) << "seed " << seed;
            for (const auto& other : room.speakers) {
                if (other == one || !other->is_there) continue;
                EXPECT_EQ(one->heard[other->name], other->said) << "seed " << seed;
            }
            if (leaves < room.speakers.size() && leaves != dies) {
                const Speaker& gone = *room.speakers[leaves];
                EXPECT_EQ(one->heard[gone.name], gone.said) << "seed " << seed;
            }
        }
    }
}

}  // namespace
}  // namespace holdfast::agent::group
