// SPDX-License-Identifier: Apache-2.0
// The group commit: who may change what, what shares a batch, and when answers come.
#include "vtpm/anchor/clerk.hpp"

#include "tests/unit/vtpm/anchor/world.hpp"

namespace holdfast::anchor::test {
namespace {

InstanceId instance(unsigned number) { return vm_id(number); }

struct ClerkTest : testing::Test {
    World world;
    std::optional<Life> life;
    std::optional<Clerk> clerk;
    Clerk::Clock::time_point now{};
    std::uint64_t budget = 0;
    std::uint64_t rate = 0;

    void SetUp() override {
        found_anchor(world);
        start();
    }
    void start() {
        clerk.reset();
        life.emplace(world);
        ASSERT_TRUE(life->open()) << life->why();
        clerk.emplace(Clerk::Setup{.anchor = *life->anchor,
                                   .counters = life->counters,
                                   .vm_keys = world.key,
                                   .attestation_public = {},
                                   .wear = {},
                                   .daily_budget = budget,
                                   .stores_a_second = rate},
                      now);
    }
    void ask(ClientId client, const Ask& question) { ASSERT_TRUE(clerk->take(client, question)); }
    std::map<ClientId, Answer> settle() {
        auto replies = clerk->settle(now);
        EXPECT_TRUE(replies);
        std::map<ClientId, Answer> answers;
        if (replies) {
            for (auto& each : *replies) answers.emplace(each.client, std::move(each.answer));
        }
        return answers;
    }
    Answer answer(ClientId client, const Ask& question) {
        ask(client, question);
        return settle().at(client);
    }
    Leaf started(ClientId client, unsigned vm, unsigned by) {
        const Answer got = answer(client, StartAsk{.vm = vm_id(vm), .instance = instance(by)});
        EXPECT_TRUE(std::holds_alternative<Granted>(got));
        return std::holds_alternative<Granted>(got) ? std::get<Granted>(got).leaf : Leaf{};
    }
    Answer stored(ClientId client, std::uint64_t version, bool strict = false) {
        return answer(client, CommitAsk{.next = state(version), .strict = strict});
    }
    static State state(std::uint64_t version) {
        return {.version = version, .permanent = {static_cast<std::byte>(version), std::byte{1}}};
    }
    static std::optional<Denial> denial(const Answer& answer) {
        if (const auto* denied = std::get_if<Denied>(&answer)) return denied->why;
        return {};
    }
};

TEST_F(ClerkTest, WhatArrivedTogetherIsOneIncrement) {
    for (unsigned vm = 1; vm <= 100; ++vm) started(vm, vm, vm);
    const auto o = world.o;
    for (unsigned vm = 1; vm <= 100; ++vm) ask(vm, CommitAsk{.next = state(1)});
    EXPECT_EQ(settle().size(), 100U);
    EXPECT_EQ(world.o, o + 1);
}

TEST_F(ClerkTest, NoAnswerLeavesBeforeTheCounterMoved) {
    started(1, 1, 1);
    world.fail_at = world.calls + 2;  // append, sync, increment
    ask(1, CommitAsk{.next = state(1)});
    EXPECT_FALSE(clerk->settle(now));
}

TEST_F(ClerkTest, EachVtpmHasAKeyOfItsOwn) {
    const auto key = [&](ClientId client, unsigned vm) {
        return std::get<Granted>(answer(client, StartAsk{.vm = vm_id(vm), .instance = instance(1)})).key;
    };
    const auto first = key(1, 1);
    EXPECT_NE(first, key(2, 2));
    clerk->client_gone(1);
    EXPECT_EQ(first, key(3, 1));
}

TEST_F(ClerkTest, SecondStartIsRefusedWhileTheFirstIsConnected) {
    started(1, 1, 1);
    EXPECT_EQ(denial(answer(2, StartAsk{.vm = vm_id(1), .instance = instance(2)})), Denial::AlreadyRunning);
}

TEST_F(ClerkTest, SecondStartFencesTheFirstThatWentAway) {
    started(1, 1, 1);
    clerk->client_gone(1);
    started(2, 1, 2);
    clerk->client_gone(2);
    EXPECT_EQ(denial(answer(3, AttachAsk{.vm = vm_id(1), .instance = instance(1)})), Denial::NotYours);
}

TEST_F(ClerkTest, TwoStartsInOneBatchAreOneAfterTheOther) {
    ask(1, StartAsk{.vm = vm_id(1), .instance = instance(1)});
    ask(2, StartAsk{.vm = vm_id(1), .instance = instance(2)});
    EXPECT_EQ(settle().size(), 1U);
    EXPECT_TRUE(clerk->has_questions());
    EXPECT_EQ(denial(settle().at(2)), Denial::AlreadyRunning);
}

TEST_F(ClerkTest, CommitsComeInOrderFromWhoStarted) {
    EXPECT_EQ(denial(stored(1, 1)), Denial::NotStarted);
    started(1, 1, 1);
    EXPECT_EQ(denial(stored(1, 0)), Denial::WrongVersion);
    EXPECT_EQ(denial(answer(1, CommitAsk{.next = {.version = 3}})), Denial::WrongVersion);  // no digest
    EXPECT_FALSE(denial(stored(1, 3)));  // a first state may have lived before the anchor
    EXPECT_EQ(denial(stored(1, 5)), Denial::WrongVersion);
    EXPECT_EQ(denial(stored(1, 3)), Denial::WrongVersion);
    EXPECT_FALSE(denial(stored(1, 4)));
    EXPECT_FALSE(denial(answer(1, StopAsk{})));
    EXPECT_EQ(denial(stored(1, 5)), Denial::NotStarted);
}

TEST_F(ClerkTest, BundleOlderThanOneThatWasLaunchedIsRefused) {
    const auto launched = [&](std::uint64_t version) {
        return denial(answer(1, BundleAsk{.bundle = vm_id(1), .security_version = version}));
    };
    EXPECT_FALSE(launched(3));
    const auto s = world.s;
    EXPECT_FALSE(launched(3));
    EXPECT_EQ(world.s, s);  // nothing new to remember
    EXPECT_EQ(launched(2), Denial::OlderBundle);
    EXPECT_FALSE(launched(4));
    EXPECT_GT(world.s, s);
    EXPECT_EQ(launched(3), Denial::OlderBundle);
    EXPECT_FALSE(denial(answer(1, BundleAsk{.bundle = vm_id(2), .security_version = 1})));
    // After a restart, and after a power cut that loses what is not strict.
    start();
    EXPECT_EQ(launched(3), Denial::OlderBundle);
    world.cut_power(false);
    clerk.reset();
    life.emplace(world, OnPowerLoss::Adopt);
    ASSERT_TRUE(life->open()) << life->why();
    ASSERT_NE(life->anchor->ledger().find(vm_id(1)), nullptr);
    EXPECT_EQ(life->anchor->ledger().find(vm_id(1))->version, 4U);
}

TEST_F(ClerkTest, BundlesAndVtpmsDoNotMix) {
    EXPECT_FALSE(denial(answer(1, BundleAsk{.bundle = vm_id(1), .security_version = 3})));
    EXPECT_EQ(denial(answer(2, StartAsk{.vm = vm_id(1), .instance = instance(1)})), Denial::NotHere);
    started(3, 2, 1);
    EXPECT_EQ(denial(answer(1, BundleAsk{.bundle = vm_id(2), .security_version = 9})), Denial::NotHere);
    EXPECT_EQ(std::get<StatusAnswer>(answer(4, StatusAsk{})).vtpms, 1U);
}

TEST_F(ClerkTest, WorkerOutlivesTheAnchor) {
    started(1, 1, 1);
    EXPECT_FALSE(denial(stored(1, 1)));
    start();
    const Answer again = answer(5, AttachAsk{.vm = vm_id(1), .instance = instance(1), .held = state(1)});
    EXPECT_FALSE(denial(again));
    EXPECT_FALSE(denial(stored(5, 2)));
}

TEST_F(ClerkTest, LostReplyIsFoundByAttaching) {
    started(1, 1, 1);
    EXPECT_FALSE(denial(stored(1, 1)));
    start();
    // The reply to version 1 never came: the worker still holds version 0.
    const Answer again =
        answer(5, AttachAsk{.vm = vm_id(1), .instance = instance(1), .held = {}, .pending = state(1)});
    ASSERT_FALSE(denial(again));
    EXPECT_EQ(std::get<Granted>(again).leaf.version, 1U);
}

TEST_F(ClerkTest, WorkerWithAnotherStateIsRefused) {
    started(1, 1, 1);
    EXPECT_FALSE(denial(stored(1, 1)));
    start();
    EXPECT_EQ(denial(answer(5, AttachAsk{.vm = vm_id(1), .instance = instance(1), .held = {}})),
              Denial::StateDiffers);
    State forged = state(1);
    forged.permanent = {std::byte{99}};
    EXPECT_EQ(denial(answer(6, AttachAsk{.vm = vm_id(1), .instance = instance(1), .held = forged})),
              Denial::StateDiffers);
}

TEST_F(ClerkTest, NobodyAttachesToAnAnchorThatWasFencedOut) {
    started(1, 1, 1);
    clerk->client_gone(1);
    Life other{world};
    ASSERT_TRUE(other.open());
    ask(2, AttachAsk{.vm = vm_id(1), .instance = instance(1), .held = {}});
    EXPECT_FALSE(clerk->settle(now));
}

TEST_F(ClerkTest, SecondQuestionBeforeTheAnswerIsAPeerFault) {
    ask(1, StatusAsk{});
    EXPECT_FALSE(clerk->take(1, StatusAsk{}));
}

TEST_F(ClerkTest, GreedyVtpmIsSlowedAndOthersAreNot) {
    rate = 2;
    start();
    started(1, 1, 1);
    started(2, 2, 2);
    std::uint64_t made = 0;
    while (!denial(stored(1, made + 1))) ++made;
    EXPECT_EQ(made, 20U);
    EXPECT_EQ(denial(stored(1, made + 1)), Denial::OverBudget);
    EXPECT_FALSE(denial(stored(2, 1)));
    now += std::chrono::seconds{1};
    EXPECT_FALSE(denial(stored(1, made + 1)));
}

TEST_F(ClerkTest, BudgetOfADayHoldsAndTheNextDayBegins) {
    budget = 6;
    start();
    started(1, 1, 1);
    std::uint64_t made = 0;
    while (!denial(stored(1, made + 1))) ++made;
    EXPECT_GT(made, 256U);
    EXPECT_LE(made, 3U * 256);
    EXPECT_EQ(denial(stored(1, made + 1)), Denial::OverBudget);
    EXPECT_FALSE(std::get<Room>(answer(1, RoomAsk{})).is_there);
    now += std::chrono::hours{25};
    EXPECT_TRUE(std::get<Room>(answer(1, RoomAsk{})).is_there);
    EXPECT_FALSE(denial(stored(1, made + 1)));
}

TEST_F(ClerkTest, CheckpointComesWhenItsTimeHasCome) {
    started(1, 1, 1);
    EXPECT_FALSE(denial(stored(1, 1)));
    ASSERT_TRUE(clerk->checkpoint_due());
    const auto s = world.s;
    ASSERT_TRUE(clerk->checkpoint_if_due(now));
    EXPECT_EQ(world.s, s);
    now = *clerk->checkpoint_due();
    ASSERT_TRUE(clerk->checkpoint_if_due(now));
    EXPECT_EQ(world.s, s + 1);
    EXPECT_FALSE(clerk->checkpoint_due());
}

TEST(ProtocolTest, MessagesComeBackAndNothingElseDecodes) {
    std::vector<Ask> asks{StartAsk{.vm = vm_id(1)},
                          AttachAsk{.vm = vm_id(1), .pending = State{.version = 4}},
                          CommitAsk{.next = {.version = 7}, .strict = true},
                          StopAsk{},
                          EvidenceAsk{.nonce = {std::byte{3}}},
                          StatusAsk{},
                          CheckpointAsk{},
                          LeafAsk{.vm = vm_id(2)},
                          RoomAsk{},
                          ReanchorAsk{.vm = vm_id(2),
                                      .accepted = {.version = 3},
                                      .tenant_key = std::vector<std::byte>(kMaxPublicKey),
                                      .signature = std::vector<std::byte>(kMaxSignature)}};
    asks.emplace_back(RoomAsk{.strict = true});
    asks.emplace_back(BundleAsk{.bundle = vm_id(3), .security_version = 7});
    for (const Ask& each : asks) {
        auto bytes = encode(each);
        ASSERT_LE(bytes.size(), kMaxAskBytes);
        const auto decoded = decode_ask(bytes);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(encode(*decoded), bytes);
        for (std::size_t size = 0; size < bytes.size(); ++size)
            EXPECT_FALSE(decode_ask(std::span{bytes}.first(size)));
        bytes.push_back({});
        EXPECT_FALSE(decode_ask(bytes));
    }
    const std::vector<Answer> answers{Granted{.leaf = {.vm = vm_id(9)}},
                                      Committed{5},
                                      Denied{Denial::Full},
                                      Evidence{{std::byte{1}}},
                                      StatusAnswer{.o = 3, .adopted = true},
                                      LeafAnswer{.leaf = {.vm = vm_id(4)}}};
    for (const Answer& each : answers) {
        const auto bytes = encode(each);
        const auto decoded = decode_answer(bytes);
        ASSERT_TRUE(decoded);
        EXPECT_EQ(encode(*decoded), bytes);
        for (std::size_t size = 0; size < bytes.size(); ++size)
            EXPECT_FALSE(decode_answer(std::span{bytes}.first(size)));
    }
}

}  // namespace
}  // namespace holdfast::anchor::test
