// SPDX-License-Identifier: Apache-2.0
// The gate: with the real libtpms and the real state service, a reply is never out before its state.
#include "vtpm/service.hpp"

#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sys/socket.hpp"
#include "vtpm/engine/command.hpp"
#include "vtpm/store/session.hpp"

namespace holdfast::vtpm {
namespace {

/// Passes on, and looks whether the client has an answer already. Can be told to fail.
class WatchedCommit final : public Commit {
public:
    WatchedCommit(StoreClient& store, const UniqueFd& client) : store_{store}, client_{client} {}
    Result<Outcome> commit(std::uint64_t version, std::span<const std::byte> sealed) override {
        std::byte peeked{};
        early |= ::recv(client_.get(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
        ++commits;
        if (fail) return Error{Fault::Os, EIO, "sync the state file"};
        const auto done = store_.commit(version, sealed);
        if (done) put_off = over_budget;
        return done && put_off ? Outcome::PutOff : done;
    }
    Result<Outcome> retry() override {
        put_off = put_off && over_budget;
        return put_off ? Outcome::PutOff : Outcome::Newest;
    }
    Result<bool> has_room() override { return !out_of_room; }
    int commits = 0;
    bool over_budget = false;
    bool out_of_room = false;
    bool put_off = false;
    bool early = false;
    bool fail = false;

private:
    StoreClient& store_;
    const UniqueFd& client_;
};

struct ServiceTest : testing::Test {
    UniqueFd ours;
    UniqueFd theirs;
    UniqueFd file;
    std::jthread store_thread;
    std::unique_ptr<StoreClient> store;
    std::unique_ptr<WatchedCommit> commit;
    std::unique_ptr<Keeper> keeper;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Service> service;

    void SetUp() override {
        std::tie(ours, theirs) = *socket_pair(SOCK_STREAM);
        auto [client, server] = *socket_pair(SOCK_STREAM);
        file = *sealed_memfd("state", store::kFileBytes);
        const Identity who{.id = {}, .name = "box"};
        store::FileDisk disk{*file.duplicate()};
        ASSERT_TRUE(store::format(disk, {.identity = who, .created = 0}));
        store_thread = std::jthread{[socket = std::move(server), state = *file.duplicate()]() mutable {
            EXPECT_TRUE((store::Session{std::move(socket), std::move(state)}.run()));
        }};
        store = std::make_unique<StoreClient>(std::move(client));
        commit = std::make_unique<WatchedCommit>(*store, ours);
        keeper = std::make_unique<Keeper>(Sealer{*SecretBytes::create(kStateKeyBytes), who}, *store, *commit);
        engine = *Engine::create();
        service = std::make_unique<Service>(*engine, *keeper, Start::Create);
        ASSERT_TRUE(service->prepare());
        ASSERT_TRUE(service->init(theirs));
        EXPECT_EQ(take(4)[3], std::byte{0});
        EXPECT_EQ(commit->commits, 1);                                    // the manufacture
        EXPECT_EQ(run({0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0}), 0U);  // Startup(CLEAR)
        commit->commits = 0;
    }
    void TearDown() override {
        service.reset();
        engine.reset();
        keeper.reset();
        commit.reset();
        store.reset();
    }
    std::vector<std::byte> take(std::size_t size) {
        std::vector<std::byte> bytes(size);
        if (size == 0) return bytes;  // an empty socket says EAGAIN even to who wants nothing
        EXPECT_EQ(::recv(ours.get(), bytes.data(), size, MSG_WAITALL), static_cast<ssize_t>(size));
        return bytes;
    }
    bool answered() {
        std::byte peeked{};
        return ::recv(ours.get(), &peeked, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    }
    std::uint32_t run(std::initializer_list<int> command) {
        std::vector<std::byte> bytes;
        for (const int byte : command) bytes.push_back(static_cast<std::byte>(byte));
        EXPECT_TRUE(service->run_command(theirs, bytes));
        const auto head = head_of(take(kHeadBytes));
        take(head.size - kHeadBytes);
        return head.code;
    }
    // An NV index of 8 bytes, written and read by the owner, without dictionary attack protection.
    static constexpr std::initializer_list<int> kDefine{
        0x80, 2, 0, 0, 0, 45, 0, 0,  1, 0x2a, 0x40, 0, 0, 1,    0, 0, 0, 9, 0x40, 0, 0, 9, 0,
        0,    0, 0, 0, 0, 0,  0, 14, 1, 0,    0,    1, 0, 0x0b, 2, 2, 0, 2, 0,    0, 0, 8};
    static constexpr std::initializer_list<int> kGetRandom{0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8};
};

TEST_F(ServiceTest, ReplyOfAStoringCommandLeavesAfterItsStateIsDurable) {
    EXPECT_EQ(run(kDefine), 0U);
    EXPECT_EQ(commit->commits, 1);
    EXPECT_FALSE(commit->early);
}

TEST_F(ServiceTest, CommandThatStoresNothingCommitsNothing) {
    EXPECT_EQ(run(kGetRandom), 0U);
    EXPECT_EQ(commit->commits, 0);
}

TEST_F(ServiceTest, StateThatCannotBeMadeDurableIsNeverAnsweredFor) {
    commit->fail = true;
    std::vector<std::byte> define;
    for (const int byte : kDefine) define.push_back(static_cast<std::byte>(byte));
    EXPECT_FALSE(service->run_command(theirs, define));
    EXPECT_FALSE(answered());
    ASSERT_TRUE(service->fatal());
    EXPECT_EQ(service->fatal()->os_errno, EIO);
    // Nor anything that comes after it, on either channel.
    EXPECT_FALSE(service->refuse_command(theirs, tpm::RC_FAILURE));
    EXPECT_FALSE(service->answer(theirs, 0));
    EXPECT_FALSE(answered());
}

TEST_F(ServiceTest, WhatIsPutOffIsNotAnsweredForAndNothingRunsOnTopOfIt) {
    commit->over_budget = true;
    EXPECT_EQ(run(kDefine), tpm::RC_NV_RATE);
    EXPECT_EQ(run(kGetRandom), tpm::RC_NV_RATE);
    EXPECT_EQ(commit->commits, 1);
    commit->over_budget = false;
    EXPECT_EQ(run(kGetRandom), 0U);
    EXPECT_EQ(run(kDefine), 0x14cU) << "TPM_RC_NV_DEFINED: it was done";
}

TEST_F(ServiceTest, WithoutRoomStoringCommandsAreRefusedBeforeTheyRunAndOthersAreNot) {
    commit->out_of_room = true;
    EXPECT_EQ(run(kDefine), tpm::RC_RETRY);  // RC_NV_RATE is for anchored ones
    EXPECT_EQ(run(kGetRandom), 0U);
    EXPECT_EQ(commit->commits, 0);
    commit->out_of_room = false;
    EXPECT_EQ(run(kDefine), 0U);
}

TEST_F(ServiceTest, SwitchingOffIsOrderlyAndDurableBeforeItIsAnswered) {
    ASSERT_TRUE(service->stop(theirs));
    EXPECT_EQ(commit->commits, 1);
    EXPECT_FALSE(commit->early);
    take(4);
    commit->commits = 0;
    ASSERT_TRUE(service->stop(theirs));  // off already: nothing to say
    EXPECT_EQ(commit->commits, 0);
}

TEST_F(ServiceTest, TpmThatIsOffAnswersFailure) {
    ASSERT_TRUE(service->stop(theirs));
    take(4);
    EXPECT_EQ(run(kGetRandom), tpm::RC_FAILURE);
}

TEST_F(ServiceTest, FloodOfWritersIsToldToRetryAndReadersAreNot) {
    EXPECT_EQ(run(kDefine), 0U);
    bool retried = false;
    // Each is refused by libtpms (the index exists) without a store; the bucket counts it all the same.
    for (int i = 0; i < 20'000 && !retried; ++i) retried = run(kDefine) == tpm::RC_RETRY;
    EXPECT_TRUE(retried);
    EXPECT_EQ(run(kGetRandom), 0U);
}

}  // namespace
}  // namespace holdfast::vtpm
