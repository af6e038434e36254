// SPDX-License-Identifier: Apache-2.0
// A group that lives: in any order of turns and with any delay of the carrier, no line is lost between
// epochs, nobody waits for ever for who is gone, and who was away for too long finds out.
#include "guest_agent/group/talk.hpp"

#include <gtest/gtest.h>
#include <cstdlib>
#include <random>

#include "tests/unit/guest_agent/group/world.hpp"

namespace holdfast::agent::group {
namespace {

constexpr Pace kPace{.rotation = std::chrono::seconds{100},
                     .patience = std::chrono::seconds{60},
                     .renewal = std::chrono::seconds{300}};

std::string words_of(Bytes bytes) {
    std::string words;
    for (const std::byte byte : bytes) words += static_cast<char>(byte);
    return words;
}

struct Line {
    std::uint64_t epoch;
    std::string words;
};

/// One guest's agent and program.
struct Speaker {
    std::string name;
    FakePolicy policy;
    FakeCounter counter;
    std::optional<Talk> talk;
    std::optional<Applicant> applicant{};                                   ///< where it wants to join
    Talk::Moment asked{};                                                   ///< by that
    std::uint64_t since = 0;                                                ///< its first epoch
    std::map<std::uint64_t, std::vector<std::vector<std::byte>>> posted{};  ///< by epoch
    std::map<std::pair<std::string, std::uint64_t>, std::size_t> read{};    ///< of what others have
    std::map<std::string, std::vector<std::string>> heard{};
    std::vector<Line> said{};
    std::vector<std::string> joined{};
    std::vector<std::string> left{};
    std::vector<std::string> left_out{};
    std::vector<std::string> refused{};  ///< who was turned away by it
    std::optional<Error> failed{};
    bool is_there = true;
    std::chrono::seconds behind{0};  ///< its clock, which has stood still for so long
    /// What it shows again: good evidence, none, or that of a machine that nobody trusts.
    enum class Shows : std::uint8_t { Good, None, Bad } shows = Shows::Good;
    std::size_t shown = 0;

    Speaker(std::string own, const FakeMachine& machine) : name{std::move(own)}, policy{machine} {}
    /// What it has said from that epoch on.
    [[nodiscard]] std::vector<std::string> said_since(std::uint64_t epoch) const {
        std::vector<std::string> lines;
        for (const Line& line : said) {
            if (line.epoch >= epoch) lines.push_back(line.words);
        }
        return lines;
    }
};

class Room {
public:
    /// `founders` of them are a group; the others are not there yet.
    explicit Room(std::size_t founders, std::uint64_t seed = 1, std::size_t others = 0) : random_{seed} {
        for (std::size_t i = 0; i < founders + others; ++i)
            speakers.push_back(std::make_unique<Speaker>("g" + std::to_string(i), machine));
        for (std::size_t i = founders; i < speakers.size(); ++i) speakers[i]->is_there = false;
        Speaker& first = *speakers.front();
        first.talk.emplace(
            *Member::found(settings_of(first.name), machine.evidence(), first.policy, first.counter), kPace,
            now, now);
        announced = first.talk->standing();
        for (std::size_t i = 1; i < founders; ++i) {
            speakers[i]->applicant = applicant(speakers[i]->name);
            EXPECT_TRUE(first.talk->knock(speakers[i]->name, speakers[i]->applicant->package(), now));
        }
        while (first.talk->applicants() != 0) EXPECT_TRUE(first.talk->turn(now));
        post(first);
        for (std::size_t i = 1; i < founders; ++i) enter(*speakers[i]);
    }

    void say(Speaker& one, std::string line) {
        ASSERT_TRUE(one.talk->say(std::as_bytes(std::span{line})));
        one.said.push_back({one.talk->epoch(), std::move(line)});
    }
    void leave(Speaker& one) {
        ASSERT_TRUE(one.talk->say_goodbye());
        post(one);
        one.is_there = false;
    }
    /// Comes, or comes back, and asks to join.
    void come(Speaker& one) {
        one.talk.reset();
        one.failed.reset();
        one.heard.clear();
        one.is_there = true;
        ask_anew(one);
    }
    void ask_anew(Speaker& one) {
        one.applicant = applicant(one.name);
        one.asked = time_of(one);
    }
    Applicant applicant(const std::string& name) {
        return *Applicant::create(settings_of(name), announced.transcript, machine.evidence());
    }
    /// What the carrier lets through for now: all, nothing, or of each member something.
    enum class Carrier : std::uint8_t { Prompt, Mute, Slow };
    void turn(Speaker& one, Carrier carrier = Carrier::Prompt) {
        if (one.failed || !one.is_there) return;
        if (!one.talk) {
            if (carrier != Carrier::Mute) ask(one);
            return;
        }
        for (const auto& other : speakers)
            hear(one, *other, carrier == Carrier::Prompt ? 1000 : carrier == Carrier::Slow ? pick(3) : 0);
        if (one.failed) return;
        auto events = one.talk->turn(time_of(one));
        show(one);
        if (!events) one.failed = events.error();
        else
            for (const Talk::Event& event : *events) take(one, event);
        post(one);
        if (!one.failed && carrier != Carrier::Mute) look_at_door(one);
    }
    /// Everybody in turn, until nothing new is said.
    void settle(int rounds = 12) {
        for (int round = 0; round < rounds; ++round) {
            for (const auto& one : speakers) turn(*one);
        }
    }
    std::size_t pick(std::size_t below) { return random_() % below; }
    /// One more epoch, for all.
    void rotate() {
        now += kPace.rotation;
        settle();
    }
    /// With what was put there for it.
    void enter(Speaker& one) {
        const std::vector<std::byte> package = one.applicant->package();
        const auto invitation = invitations.find(package);
        if (invitation == invitations.end()) return;
        auto member = Member::join(std::move(*one.applicant), invitation->second.welcome,
                                   invitation->second.commit, one.policy, one.counter);
        one.applicant.reset();
        if (!member) {
            one.failed = member.error();
            return;
        }
        one.talk.emplace(std::move(*member), kPace, one.asked, time_of(one));
        one.since = one.talk->epoch();
        post(one);
    }

    [[nodiscard]] Talk::Moment time_of(const Speaker& one) const { return now - one.behind; }

    FakeMachine machine;
    std::vector<std::unique_ptr<Speaker>> speakers;
    Talk::Moment now{};
    Standing announced;
    std::map<std::vector<std::byte>, CommitMessages> invitations;  ///< by key package

private:
    void post(Speaker& one) {
        for (Talk::Post& post : one.talk->take_posts())
            one.posted[post.epoch].push_back(std::move(post.message));
        if (const auto invitation = one.talk->take_invitation()) {
            for (const auto& package : invitation->packages) invitations[package] = invitation->messages;
        }
        if (one.talk->is_first() && one.talk->epoch() > announced.epoch) announced = one.talk->standing();
    }
    void show(Speaker& one) {
        if (one.shows == Speaker::Shows::None || !one.talk->is_renewal_due()) return;
        const FakeMachine& by = one.shows == Speaker::Shows::Good ? machine : other_machine_;
        ASSERT_TRUE(one.talk->renew(*by.evidence()(one.talk->renewal_binding())));
        ++one.shown;
    }
    /// An agent outside: goes in if it may, and asks anew if the group has gone on without it.
    void ask(Speaker& one) {
        const Digest256 made_for = decode_key_package(one.applicant->package())->made_for;
        enter(one);
        if (one.applicant && made_for != announced.transcript) ask_anew(one);
    }
    void look_at_door(Speaker& one) {
        for (const auto& other : speakers) {
            if (!other->is_there || !other->applicant || !one.talk->is_open_to(other->name)) continue;
            if (!one.talk->knock(other->name, other->applicant->package(), now))
                one.refused.push_back(other->name);
        }
    }
    void hear(Speaker& one, Speaker& other, std::size_t most) {
        const std::uint64_t epoch = one.talk->epoch();
        std::size_t& at = one.read[{other.name, epoch}];
        const auto& posted = other.posted[epoch];
        for (; !one.failed && most > 0 && at < posted.size() && one.talk->hears(other.name); --most) {
            const auto event = one.talk->hear(other.name, posted[at++], time_of(one));
            if (!event) one.failed = event.error();
            else if (*event) take(one, **event);
        }
    }
    static void take(Speaker& one, const Talk::Event& event) {
        switch (event.kind) {
            case Talk::Kind::Line: one.heard[event.name].push_back(words_of(event.line.bytes())); break;
            case Talk::Kind::Joined: one.joined.push_back(event.name); break;
            case Talk::Kind::Left: one.left.push_back(event.name); break;
            case Talk::Kind::LeftOut: one.left_out.push_back(event.name); break;
        }
    }

    FakeMachine other_machine_;
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
    const auto post = room.speakers[0]->talk->take_posts().back();
    const auto heard = room.speakers[1]->talk->hear("g2", post.message, room.now);
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

TEST(Talk, WhoComesLaterIsInTheNextEpochAndHearsNoLineOfTheOnesBefore) {
    Room room{3, 1, 1};
    room.settle();
    Speaker& late = *room.speakers[3];
    room.say(*room.speakers[1], "before");
    room.come(late);
    room.settle();
    for (const auto& one : room.speakers) {
        ASSERT_FALSE(one->failed) << one->name << ": " << one->failed->what;
        EXPECT_EQ(one->talk->epoch(), 2U) << one->name;
        EXPECT_TRUE(one->talk->have_all_entered()) << one->name;
        EXPECT_EQ(one->joined, std::vector<std::string>(one.get() == &late ? 0U : 1U, "g3")) << one->name;
        room.say(*one, "after");
    }
    EXPECT_EQ(late.talk->others(), (std::vector<std::string>{"g0", "g1", "g2"}));
    room.settle();
    EXPECT_EQ(room.speakers[0]->heard.at("g1"), (std::vector<std::string>{"before", "after"}));
    EXPECT_EQ(room.speakers[0]->heard.at("g3"), std::vector<std::string>{"after"});
    EXPECT_EQ(late.heard.at("g1"), std::vector<std::string>{"after"});
}

TEST(Talk, LineOfAMemberCannotLookLikeOneOfAnother) {
    Room room{3};
    room.settle();
    room.say(*room.speakers[1], "mine\ng2 not mine");
    room.settle();
    EXPECT_TRUE(room.speakers[0]->failed);
    EXPECT_FALSE(room.speakers[0]->heard.contains("g1"));
}

TEST(Talk, WhoHasGoneComesBackUnderItsName) {
    Room room{3};
    room.settle();
    for (const std::size_t who : {2U, 0U}) {
        Speaker& one = *room.speakers[who];
        room.leave(one);
        room.settle();
        room.come(one);
        room.settle();
        for (const auto& each : room.speakers)
            ASSERT_FALSE(each->failed) << each->name << ": " << each->failed->what;
        EXPECT_EQ(one.talk->others().size(), 2U);
        room.say(one, "back");
        room.settle();
        EXPECT_EQ(room.speakers[1]->heard.at(one.name), std::vector<std::string>{"back"});
    }
}

// Nobody takes the place of a member by its name: it waits until the others have missed who had it.
TEST(Talk, WhoWasKilledComesBackOnceItIsLeftOut) {
    Room room{3};
    room.settle();
    Speaker& one = *room.speakers[1];
    room.come(one);
    room.settle();
    EXPECT_FALSE(one.talk);
    EXPECT_EQ(room.speakers[0]->talk->epoch(), 1U);
    room.rotate();
    room.now += 3 * kPace.patience;
    room.settle();
    ASSERT_TRUE(one.talk);
    EXPECT_EQ(room.speakers[0]->left_out, std::vector<std::string>{"g1"});
    EXPECT_EQ(room.speakers[2]->joined, std::vector<std::string>{"g1"});
}

TEST(Talk, TheLastOneLetsOthersIn) {
    Room room{2, 1, 1};
    room.settle();
    room.leave(*room.speakers[0]);
    room.settle();
    ASSERT_TRUE(room.speakers[1]->talk->is_alone());
    // The one that has gone is in the roster still.
    for (const std::size_t who : {0U, 2U}) {
        room.come(*room.speakers[who]);
        room.settle();
        ASSERT_TRUE(room.speakers[who]->talk) << who;
    }
    for (const auto& one : room.speakers) {
        ASSERT_TRUE(one->talk && !one->failed) << one->name;
        EXPECT_EQ(one->talk->others().size(), 2U) << one->name;
    }
}

TEST(Talk, OnlyWhoIsFirstLetsOthersIn) {
    Room room{2, 1, 1};
    room.settle();
    EXPECT_TRUE(room.speakers[0]->talk->is_open_to("g2"));
    EXPECT_FALSE(room.speakers[0]->talk->is_open_to("g1"));
    EXPECT_FALSE(room.speakers[0]->talk->is_open_to("g0"));
    EXPECT_FALSE(room.speakers[1]->talk->is_open_to("g2"));
    EXPECT_FALSE(room.speakers[1]->talk->knock("g2", room.applicant("g2").package(), room.now));
}

/// A host puts something else where a key package is asked for.
class TalkAtItsDoor : public ::testing::Test {
protected:
    void SetUp() override { room.settle(); }
    bool lets_in(std::string_view name, Bytes package) {
        return room.speakers[0]->talk->knock(name, package, room.now).has_value();
    }
    void TearDown() override {
        // The group goes on, and nobody is in it who should not.
        room.rotate();
        for (const std::size_t i : {0U, 1U}) {
            EXPECT_FALSE(room.speakers[i]->failed);
            EXPECT_TRUE(room.speakers[i]->joined.empty());
            EXPECT_EQ(room.speakers[i]->talk->others().size(), 1U);
        }
    }
    Room room{2, 1, 2};
};

TEST_F(TalkAtItsDoor, AnOlderKeyPackageIsRefused) {
    const Applicant old = room.applicant("g2");
    room.rotate();
    EXPECT_FALSE(lets_in("g2", old.package()));
}

TEST_F(TalkAtItsDoor, AKeyPackageOfAMemberThatWasIsRefused) {
    room.come(*room.speakers[2]);
    const std::vector<std::byte> package = room.speakers[2]->applicant->package();
    room.settle();
    ASSERT_TRUE(room.speakers[2]->talk);
    room.leave(*room.speakers[2]);
    room.settle();
    ASSERT_TRUE(room.speakers[0]->talk->is_open_to("g2"));
    EXPECT_FALSE(lets_in("g2", package));
    for (const std::size_t i : {0U, 1U}) room.speakers[i]->joined.clear();
}

TEST_F(TalkAtItsDoor, AKeyPackageWithAnyByteChangedIsRefused) {
    std::vector<std::byte> package = room.applicant("g2").package();
    for (std::byte& byte : package) {
        byte ^= std::byte{1};
        EXPECT_FALSE(lets_in("g2", package)) << &byte - package.data();
        byte ^= std::byte{1};
    }
}

TEST_F(TalkAtItsDoor, AKeyPackageOfAnotherNameIsRefused) {
    EXPECT_FALSE(lets_in("g3", room.applicant("g2").package()));
}

TEST_F(TalkAtItsDoor, EvidenceOfAMachineThatNobodyKnowsIsRefused) {
    const FakeMachine other;
    const Applicant liar = *Applicant::create(settings_of("g2"), room.announced.transcript, other.evidence());
    EXPECT_FALSE(lets_in("g2", liar.package()));
}

TEST_F(TalkAtItsDoor, WhoKnocksTwiceIsInOnce) {
    room.come(*room.speakers[2]);
    const std::vector<std::byte> package = room.speakers[2]->applicant->package();
    EXPECT_TRUE(lets_in("g2", package));
    EXPECT_FALSE(lets_in("g2", package));
    room.settle();
    for (const std::size_t i : {0U, 1U}) {
        EXPECT_EQ(room.speakers[i]->joined, std::vector<std::string>{"g2"});
        room.speakers[i]->joined.clear();
    }
    room.leave(*room.speakers[2]);
}

// Whom the first lets in the others judge too.
TEST(Talk, WhoDoesNotAcceptANewcomerEndsAndTheOthersGoOn) {
    Room room{3, 1, 1};
    room.settle();
    Speaker& picky = *room.speakers[1];
    picky.policy.refused = "g3";
    room.come(*room.speakers[3]);
    room.settle();
    EXPECT_TRUE(picky.failed);
    room.rotate();
    room.now += 3 * kPace.patience;
    room.settle();
    for (const std::size_t i : {0U, 2U}) {
        EXPECT_FALSE(room.speakers[i]->failed);
        EXPECT_EQ(room.speakers[i]->left_out, std::vector<std::string>{"g1"});
        EXPECT_EQ(room.speakers[i]->talk->others().size(), 2U);
    }
}

TEST(Talk, WhoDoesNotAcceptTheGroupDoesNotJoinIt) {
    Room room{3, 1, 1};
    room.settle();
    Speaker& late = *room.speakers[3];
    late.policy.refused = "g1";
    room.come(late);
    room.settle();
    EXPECT_TRUE(late.failed && !late.talk);
}

TEST(Talk, WhoseInvitationIsLostIsLeftOutAndAsksAnew) {
    Room room{2, 1, 1};
    room.settle();
    Speaker& late = *room.speakers[2];
    room.come(late);
    for (int round = 0; round < 12; ++round) {
        room.turn(*room.speakers[0]);
        room.turn(*room.speakers[1]);
    }
    EXPECT_EQ(room.speakers[0]->joined, std::vector<std::string>{"g2"});
    room.invitations.clear();
    room.settle();
    EXPECT_FALSE(late.talk);
    room.rotate();
    room.now += 3 * kPace.patience;
    room.settle();
    EXPECT_EQ(room.speakers[0]->left_out, std::vector<std::string>{"g2"});
    ASSERT_TRUE(late.talk) << "the second time";
    EXPECT_EQ(room.speakers[1]->joined, (std::vector<std::string>{"g2", "g2"}));
}

TEST(Talk, AnInvitationWithAnyBitChangedIsRefused) {
    for (const bool of_welcome : {true, false}) {
        std::size_t size = 1;
        for (std::size_t at = 0; at < size; at += 7) {
            Room room{2, 1, 1};
            room.settle();
            Speaker& late = *room.speakers[2];
            room.come(late);
            const std::vector<std::byte> package = late.applicant->package();
            for (int round = 0; round < 6; ++round) {
                room.turn(*room.speakers[0]);
                room.turn(*room.speakers[1]);
            }
            CommitMessages& messages = room.invitations.at(package);
            std::vector<std::byte>& bytes = of_welcome ? messages.welcome : messages.commit;
            size = bytes.size();
            bytes[at] ^= std::byte{16};
            room.enter(late);
            EXPECT_TRUE(late.failed && !late.talk) << of_welcome << " " << at;
        }
    }
}

TEST(Talk, EvidenceIsShownAgainOnATimer) {
    Room room{3};
    room.settle();
    for (auto passed = 0 * kPace.rotation; passed < 4 * kPace.renewal; passed += kPace.rotation)
        room.rotate();
    for (const auto& one : room.speakers) {
        EXPECT_FALSE(one->failed) << one->failed->what;
        EXPECT_EQ(one->shown, 4U) << one->name;
        EXPECT_TRUE(one->left_out.empty());
    }
}

class TalkWithEvidence : public ::testing::TestWithParam<std::size_t> {
protected:
    void SetUp() override { room.settle(); }
    /// The others go on, without that one, which finds out.
    void expect_left_out() {
        for (const auto& one : room.speakers) {
            if (one.get() == &bad) continue;
            ASSERT_FALSE(one->failed) << one->name << ": " << one->failed->what;
            EXPECT_EQ(one->left_out, std::vector<std::string>{bad.name}) << one->name;
        }
        EXPECT_TRUE(bad.failed);
    }
    Room room{4};
    Speaker& bad = *room.speakers[GetParam()];
};

// The first in the roster is the one that should commit; it may be the one whose evidence is bad.
TEST_P(TalkWithEvidence, ThatIsNotAcceptedTheMemberIsLeftOut) {
    bad.shows = Speaker::Shows::Bad;
    for (auto passed = 0 * kPace.rotation; passed < kPace.renewal; passed += kPace.rotation) room.rotate();
    room.settle();
    expect_left_out();
}

TEST_P(TalkWithEvidence, ThatIsNotShownAgainTheMemberIsLeftOut) {
    bad.shows = Speaker::Shows::None;
    for (auto passed = 0 * kPace.rotation; passed < kPace.renewal + kPace.grace - kPace.rotation;
         passed += kPace.rotation)
        room.rotate();
    EXPECT_EQ(room.speakers[(GetParam() + 1) % 4]->talk->others().size(), 3U);
    room.rotate();
    room.settle();
    expect_left_out();
}
TEST_P(TalkWithEvidence, ThatIsNotAcceptedNothingIsHeardOfTheMemberAnyMore) {
    const FakeMachine other;
    ASSERT_TRUE(bad.talk->renew(*other.evidence()(bad.talk->renewal_binding())));
    room.say(bad, "behind it");
    room.settle();
    for (const auto& one : room.speakers) {
        EXPECT_FALSE(one->heard.contains(bad.name)) << one->name;
    }
}

TEST_P(TalkWithEvidence, ThatHasExpiredNothingIsHeardOfTheMemberAnyMore) {
    bad.shows = Speaker::Shows::None;
    for (auto passed = 0 * kPace.rotation; passed < kPace.renewal + kPace.grace - kPace.rotation;
         passed += kPace.rotation)
        room.rotate();
    room.say(bad, "in time");
    room.settle();
    room.now += kPace.rotation;
    room.say(bad, "too late");
    // It cannot undo that.
    ASSERT_TRUE(bad.talk->renew(*room.machine.evidence()(bad.talk->renewal_binding())));
    room.settle();
    room.settle();
    expect_left_out();
    for (const auto& one : room.speakers) {
        if (one.get() == &bad) continue;
        EXPECT_EQ(one->heard[bad.name], std::vector<std::string>{"in time"}) << one->name;
    }
}
INSTANTIATE_TEST_SUITE_P(Each, TalkWithEvidence, ::testing::Values(0U, 1U, 3U));

TEST(Talk, EvidenceOfAnotherEpochOrMemberOrChangedIsNotThatOfAMember) {
    Room room{3};
    room.settle();
    Talk& shows = *room.speakers[0]->talk;
    ASSERT_TRUE(shows.renew(*room.machine.evidence()(shows.renewal_binding())));
    std::vector<std::byte> message = shows.take_posts().back().message;
    Talk& hears = *room.speakers[1]->talk;
    EXPECT_FALSE(hears.hear("g2", message, room.now));
    for (std::byte& byte : message) {
        byte ^= std::byte{1};
        EXPECT_FALSE(hears.hear("g0", message, room.now)) << &byte - message.data();
        byte ^= std::byte{1};
    }
    EXPECT_TRUE(hears.hear("g0", message, room.now));
    room.rotate();
    EXPECT_FALSE(hears.hear("g0", message, room.now)) << "of an epoch that is over";
}

constexpr std::chrono::seconds kHour{3600};

/// One guest stands still for an hour, and the others go on: its vCPUs were paused or starved. Its clock has
/// seen that, or has stood still too: the host makes it.
class TalkAfterAnHour : public ::testing::TestWithParam<std::tuple<std::size_t, bool>> {
protected:
    void SetUp() override {
        room.settle();
        paused.is_there = false;
        for (auto passed = 0 * kPace.rotation; passed < kHour; passed += kPace.rotation) {
            for (const auto& one : room.speakers) {
                if (one.get() != &paused && one->talk->may_say()) room.say(*one, "said without it");
            }
            room.rotate();
        }
        if (!std::get<bool>(GetParam())) paused.behind = kHour;
        paused.is_there = true;
    }
    Room room{3};
    Speaker& paused = *room.speakers[std::get<std::size_t>(GetParam())];
};

TEST_P(TalkAfterAnHour, TheGuestFindsOutAndHearsNothingOfWhatWasSaidWithoutIt) {
    room.say(paused, "said too late");
    room.settle();
    EXPECT_TRUE(paused.failed);
    for (const auto& one : room.speakers) {
        // Its clock has not seen the hour: what was said before the others missed it was said to it.
        EXPECT_LE(paused.heard[one->name].size(), std::get<bool>(GetParam()) ? 0U : 1U);
        EXPECT_TRUE(one->heard[paused.name].empty()) << one->name;
        EXPECT_EQ(one->failed.has_value(), one.get() == &paused) << one->name;
    }
}

TEST_P(TalkAfterAnHour, ACarrierThatHidesWhatTheOthersSaidKeepsNobodyInTheGroup) {
    room.say(paused, "said too late");
    room.turn(paused, Room::Carrier::Mute);
    // It has seen the hour, and goes by that at once. Otherwise it waits, as for anybody who is silent.
    EXPECT_EQ(paused.failed.has_value(), std::get<bool>(GetParam()));
    for (int i = 0; i < 12; ++i) {
        room.now += kPace.rotation;
        room.turn(paused, Room::Carrier::Mute);
    }
    EXPECT_TRUE(paused.failed || paused.talk->is_alone());
    for (const auto& one : room.speakers) EXPECT_FALSE(one->heard.contains(paused.name)) << one->name;
}
INSTANTIATE_TEST_SUITE_P(Each, TalkAfterAnHour,
                         ::testing::Combine(::testing::Values(0U, 1U, 2U), ::testing::Bool()));

TEST(Talk, WhereAllStoodStillForAnHourNobodyGoesOnWithAnybody) {
    Room room{3};
    room.settle();
    room.say(*room.speakers[0], "said before");
    room.now += kHour;
    room.settle();
    for (const auto& one : room.speakers) {
        EXPECT_TRUE(one->failed) << one->name;
        EXPECT_TRUE(one->heard.empty()) << one->name;
    }
}

TEST(Talk, EvidenceThatCameDuringAPauseCountsFromBeforeIt) {
    Room room{2};
    room.settle();
    Speaker& paused = *room.speakers[0];
    Speaker& other = *room.speakers[1];
    const auto pause = kPace.renewal + kPace.grace;
    ASSERT_TRUE(other.talk->renew(*room.machine.evidence()(other.talk->renewal_binding())));
    room.turn(other);  // posts it
    room.now += pause;
    room.turn(paused);
    room.turn(paused);
    EXPECT_FALSE(paused.failed);
    EXPECT_EQ(paused.left_out, std::vector<std::string>{"g1"});
}

TEST(Talk, WhoHasAskedBeforeAPauseIsNotFreshBehindIt) {
    Room room{1, 1, 1};
    Speaker& first = *room.speakers[0];
    const Applicant late = room.applicant("g1");
    ASSERT_TRUE(first.talk->knock("g1", late.package(), room.now));
    room.now += kHour;
    room.settle(3);
    ASSERT_TRUE(first.failed);
    EXPECT_NE(std::string_view{first.failed->what}.find("evidence"), std::string_view::npos);
}

// The first lets nobody in before all are there. Evidence ages meanwhile, and its owner knows.
TEST(Talk, WhoHasWaitedForTheOthersShowsEvidenceInTime) {
    Room room{1, 1, 2};
    Speaker& first = *room.speakers[0];
    for (const std::size_t i : {1U, 2U}) {
        Speaker& one = *room.speakers[i];
        one.is_there = true;
        room.ask_anew(one);
        ASSERT_TRUE(first.talk->knock(one.name, one.applicant->package(), room.now));
        if (i == 1) room.now += kPace.renewal + kPace.rotation;
    }
    for (int i = 0; i < 10; ++i) {
        room.settle();
        room.now += kPace.rotation / 2;
    }
    for (const auto& one : room.speakers) {
        ASSERT_TRUE(one->talk && !one->failed) << one->name;
        EXPECT_EQ(one->talk->others().size(), 2U) << one->name;
        EXPECT_TRUE(one->left_out.empty()) << one->name;
    }
}

TEST(Talk, AClockThatIsSetBackKeepsNobodyInTheGroup) {
    for (const bool before_hearing : {true, false}) {
        Room room{2};
        room.settle();
        room.say(*room.speakers[1], "x");
        room.turn(*room.speakers[1]);
        Speaker& one = *room.speakers[0];
        if (!before_hearing) room.turn(one);
        one.behind = kHour;
        room.turn(one);
        EXPECT_TRUE(one.failed);
        EXPECT_EQ(one.heard.contains("g1"), !before_hearing);
    }
}

/// Turns in any order, lines and epochs at any moment, a carrier that delays, one that leaves, one that dies,
/// and others who come later; who has left or died comes back.
TEST(Talk, InAnyOrderNoLineIsLostAndNobodyWaitsForEver) {
    std::size_t joins = 0;
    const std::uint64_t seeds = std::getenv("HOLDFAST_LONG") ? 400 : 16;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        const std::size_t founders = 3 + seed % 4;
        Room room{founders, seed, seed % 3};
        const std::size_t leaves = room.pick(2 * founders);
        const std::size_t dies = room.pick(2 * founders);
        for (int step = 0; step < 900; ++step) {
            Speaker& one = *room.speakers[room.pick(room.speakers.size())];
            if (one.is_there && !one.failed && one.talk && one.talk->may_say()) {
                if (step > 300 && step < 600 && leaves < founders && &one == room.speakers[leaves].get()) {
                    room.leave(one);
                } else if (room.pick(3) == 0) {
                    room.say(one, one.name + " " + std::to_string(step));
                }
            }
            if (step == 400 && dies < founders) room.speakers[dies]->is_there = false;
            const bool is_late = step >= 100 && !one.talk;
            const bool may_come_back = step >= 700 && seed % 2 == 0;
            if (!one.is_there && (is_late || may_come_back)) room.come(one);
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
            ASSERT_FALSE(one->failed) << "seed " << seed << " " << one->name << ": " << one->failed->what;
            ASSERT_TRUE(one->talk) << "seed " << seed << ": " << one->name << " is not in";
            EXPECT_TRUE(one->talk->is_alone() || one->talk->epoch() > 4) << "seed " << seed;
            joins += one->joined.size();
            for (const auto& other : room.speakers) {
                // What somebody said who was killed may be lost.
                if (other == one || (dies < founders && other == room.speakers[dies])) continue;
                EXPECT_EQ(one->heard[other->name], other->said_since(one->since))
                    << "seed " << seed << ": " << one->name << " of " << other->name;
            }
        }
    }
    EXPECT_GT(joins, 20U) << "a walk that goes nowhere shows nothing";
}

}  // namespace
}  // namespace holdfast::agent::group
