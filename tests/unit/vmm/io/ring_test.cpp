// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/ring.hpp"

#include <thread>

#include "tests/unit/vmm/io/vm.hpp"
#include "vmm/io/request_ring.hpp"

namespace holdfast::io {
namespace {

using test::must;

struct IoRing : testing::Test {
    test::Shared shared;
    std::unique_ptr<Client> client = shared.client();
    RequestRing server = must(RequestRing::create(shared.memory, EventFd{must(shared.requests.duplicate())},
                                                  EventFd{must(shared.completions.duplicate())}));
    /// The same memory, for whoever does not play by the rules.
    SharedMemory raw = must(SharedMemory::map(shared.memory));

    Job expect_job() {
        auto job = must(server.take());
        EXPECT_TRUE(job);
        return job.value_or(Job{});
    }
    Request read_request(std::uint32_t length, std::uint64_t cookie = 0) {
        auto slot = client->take_slot();
        EXPECT_TRUE(slot);
        return {.op = Op::Read,
                .resource = ResourceId{0},
                .length = length,
                .slot = std::move(*slot),
                .cookie = cookie};
    }
    void put_raw_completion(shared::Completion completion) {
        Producer<shared::Completion> liar{raw.rings().completions};
        ASSERT_TRUE(liar.put(completion));
        static_cast<void>(liar.publish());
    }
    void put_raw_request(shared::Request request) {
        Producer<shared::Request> liar{raw.rings().requests};
        ASSERT_TRUE(liar.put(request));
        static_cast<void>(liar.publish());
    }
};

TEST_F(IoRing, RequestArrivesAsItWasSentAndItsBytesComeBack) {
    auto slot = client->take_slot();
    ASSERT_TRUE(slot);
    const auto text = test::as_vector("hello");
    std::memcpy(slot->bytes(5).data(), text.data(), 5);
    test::submit(*client, {.op = Op::Write,
                           .resource = ResourceId{3},
                           .offset = 1ULL << 40,
                           .length = 5,
                           .slot = std::move(*slot),
                           .cookie = 77});

    const Job job = expect_job();
    EXPECT_EQ(job.op, Op::Write);
    EXPECT_EQ(job.resource, ResourceId{3});
    EXPECT_EQ(job.offset, 1ULL << 40);
    EXPECT_EQ(test::as_text(job.bytes), "hello");
    server.complete(job, Status::NoSpace);
    server.publish();

    const auto completion = test::next(*client);
    ASSERT_TRUE(completion);
    EXPECT_EQ(completion->status, Status::NoSpace);
    EXPECT_EQ(completion->cookie, 77U);
    EXPECT_EQ(completion->length, 0U);
}

TEST_F(IoRing, NothingIsVisibleBeforeFlush) {
    Request request{.op = Op::Flush};
    ASSERT_TRUE(client->submit(request));
    EXPECT_FALSE(must(server.take()));
    client->flush();
    EXPECT_TRUE(must(server.take()));
}

TEST_F(IoRing, UsedBytesOfASlotAreWipedWhenItComesBackAndOthersStay) {
    auto slot = client->take_slot();
    std::memset(slot->bytes(100).data(), 0x55, 100);
    const auto outside = raw.slot(0).subspan(100, 1);
    outside[0] = std::byte{0x66};
    EXPECT_EQ(raw.slot(0)[99], std::byte{0x55});
    slot.reset();
    EXPECT_EQ(raw.slot(0)[0], std::byte{0});
    EXPECT_EQ(raw.slot(0)[99], std::byte{0});
    EXPECT_EQ(outside[0], std::byte{0x66});
}

TEST_F(IoRing, WhatWasReadIsWipedEvenIfNobodyLooked) {
    test::submit(*client, read_request(64));
    const Job job = expect_job();
    std::memset(job.bytes.data(), 0x77, 64);
    server.complete(job, Status::Ok, 64);
    server.publish();
    {
        ASSERT_TRUE(test::next(*client));
    }
    EXPECT_EQ(raw.slot(0)[63], std::byte{0});
}

TEST_F(IoRing, AFailedReadIsWipedWhole) {
    test::submit(*client, read_request(64));
    const Job job = expect_job();
    std::memset(job.bytes.data(), 0x77, 64);
    server.complete(job, Status::IoError);
    server.publish();
    {
        ASSERT_TRUE(test::next(*client));
    }
    EXPECT_EQ(raw.slot(0)[63], std::byte{0});
}

TEST_F(IoRing, SlotsRunOutAndComeBack) {
    std::vector<Slot> all;
    while (auto slot = client->take_slot()) all.push_back(std::move(*slot));
    EXPECT_EQ(all.size(), kSlotCount);
    all.pop_back();
    EXPECT_TRUE(client->take_slot());
}

TEST_F(IoRing, RequestsBeyondTheRingAreRefusedUntilOneCompletes) {
    Request request{.op = Op::Flush, .cookie = 1};
    for (std::uint32_t i = 0; i < kRingEntries; ++i) ASSERT_TRUE(client->submit(request));
    EXPECT_FALSE(client->submit(request));
    client->flush();
    const Job job = expect_job();
    server.complete(job, Status::Ok);
    server.publish();
    ASSERT_TRUE(test::next(*client));
    EXPECT_TRUE(client->submit(request));
}

TEST_F(IoRing, PositionsWrapAround) {
    for (std::uint32_t i = 0; i < 3 * kRingEntries + 5; ++i) {
        test::submit(*client, {.op = Op::Flush, .cookie = i});
        server.complete(expect_job(), Status::Ok);
        server.publish();
        const auto completion = test::next(*client);
        ASSERT_TRUE(completion);
        ASSERT_EQ(completion->cookie, i);
    }
}

TEST_F(IoRing, OnlyASleeperIsSignalled) {
    test::submit(*client, {.op = Op::Flush});
    EXPECT_FALSE(server.wake_up().drain());
    server.complete(expect_job(), Status::Ok);
    ASSERT_TRUE(server.arm());
    test::submit(*client, {.op = Op::Flush});
    EXPECT_TRUE(server.wake_up().drain());
    EXPECT_FALSE(server.arm()) << "there is a request already";
}

TEST_F(IoRing, TwoThreadsPassManyRequestsWithoutLosingAWakeUp) {
    constexpr std::uint32_t kCount = 20'000;
    std::jthread serving{[this] {
        for (std::uint32_t done = 0; done < kCount;) {
            const auto job = must(server.take());
            if (job) {
                server.complete(*job, Status::Ok);
                ++done;
                continue;
            }
            server.publish();
            if (!server.arm()) continue;
            if (!test::wait_readable(server.wake_up().fd())) return;
            server.wake_up().drain();
        }
        server.publish();
    }};
    std::uint32_t sent = 0;
    for (std::uint32_t done = 0; done < kCount;) {
        for (int i = 0; i < 7 && sent < kCount; ++i) {
            Request request{.op = Op::Flush, .cookie = sent};
            if (!client->submit(request)) break;
            ++sent;
        }
        client->flush();
        const auto completion = test::next(*client);
        ASSERT_TRUE(completion) << "after " << done;
        ASSERT_EQ(completion->cookie, done);
        ++done;
    }
}

// threat model: a compromised I/O process against the VMM.

TEST_F(IoRing, CompletionOfNothingIsAPeerFault) {
    put_raw_completion({.tag = 0, .length = 0, .status = 0, .reserved = {}});
    const auto result = client->next_completion();
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().fault, Fault::Peer);
}

TEST_F(IoRing, CompletionTagOutOfRangeIsAPeerFault) {
    for (const std::uint32_t tag : {kRingEntries, 0xffffffffU}) {
        test::Shared fresh;
        const auto victim = fresh.client();
        const auto memory = must(SharedMemory::map(fresh.memory));
        Producer<shared::Completion> liar{memory.rings().completions};
        ASSERT_TRUE(liar.put({.tag = tag, .length = 0, .status = 0, .reserved = {}}));
        static_cast<void>(liar.publish());
        EXPECT_FALSE(victim->next_completion());
    }
}

TEST_F(IoRing, SecondCompletionOfARequestIsAPeerFault) {
    test::submit(*client, {.op = Op::Flush});
    const Job job = expect_job();
    server.complete(job, Status::Ok);
    server.complete(job, Status::Ok);
    server.publish();
    ASSERT_TRUE(test::next(*client));
    EXPECT_FALSE(client->next_completion());
}

TEST_F(IoRing, CompletionLongerThanItsRequestIsAPeerFault) {
    test::submit(*client, read_request(512));
    server.complete(expect_job(), Status::Ok, 513);
    server.publish();
    EXPECT_FALSE(client->next_completion());
}

TEST_F(IoRing, LengthOfAWriteIsAPeerFault) {
    auto request = read_request(512);
    request.op = Op::Write;
    test::submit(*client, std::move(request));
    server.complete(expect_job(), Status::Ok, 1);
    server.publish();
    EXPECT_FALSE(client->next_completion());
}

TEST_F(IoRing, UnknownStatusIsAPeerFault) {
    test::submit(*client, {.op = Op::Flush});
    put_raw_completion({.tag = 0, .length = 0, .status = 6, .reserved = {}});
    // The tag is the client's own choice: find it among all.
    EXPECT_FALSE(client->next_completion());
}

TEST_F(IoRing, CompletionPositionFarAheadIsAPeerFault) {
    test::submit(*client, {.op = Op::Flush});
    server.complete(expect_job(), Status::Ok);
    server.publish();  // what is there first is fine
    raw.rings().completions.tail.store(kRingEntries + 1);
    EXPECT_FALSE(client->next_completion());
    raw.rings().completions.tail.store(0xffffffff);
    EXPECT_FALSE(client->next_completion());
}

TEST_F(IoRing, RequestHeadThatJumpsCostsOnlyTheServer) {
    raw.rings().requests.head.store(0x80000000);
    Request request{.op = Op::Flush};
    EXPECT_FALSE(client->submit(request));
}

// And a compromised VMM against the I/O process.

TEST_F(IoRing, RequestsOutsideOfTheArenaArePeerFaults) {
    const shared::Request good{.offset = 0,
                               .length = 512,
                               .tag = 0,
                               .slot = 0,
                               .op = static_cast<std::uint8_t>(Op::Read),
                               .resource = 0,
                               .reserved = 0};
    for (const auto& spoil :
         {+[](shared::Request& r) { r.slot = kSlotCount; }, +[](shared::Request& r) { r.slot = kNoSlot; },
          +[](shared::Request& r) { r.length = kSlotSize + 1; }, +[](shared::Request& r) { r.op = 0; },
          +[](shared::Request& r) { r.op = 8; }}) {
        test::Shared fresh;
        auto victim = must(RequestRing::create(fresh.memory, EventFd{must(fresh.requests.duplicate())},
                                               EventFd{must(fresh.completions.duplicate())}));
        const auto memory = must(SharedMemory::map(fresh.memory));
        Producer<shared::Request> liar{memory.rings().requests};
        shared::Request bad = good;
        spoil(bad);
        ASSERT_TRUE(liar.put(bad));
        static_cast<void>(liar.publish());
        const auto job = victim.take();
        ASSERT_FALSE(job);
        EXPECT_EQ(job.error().fault, Fault::Peer);
    }
}

TEST_F(IoRing, RequestPositionFarAheadIsAPeerFault) {
    test::submit(*client, {.op = Op::Flush});  // what is there first is fine
    raw.rings().requests.tail.store(kRingEntries + 1);
    EXPECT_FALSE(server.take());
}

TEST_F(IoRing, AVmmThatTakesNoCompletionsIsAPeerFaultAndNothingIsOverwritten) {
    Producer<shared::Request> liar{raw.rings().requests};
    std::uint32_t served = 0;
    for (std::uint32_t i = 0; i <= kRingEntries; ++i) {
        ASSERT_TRUE(liar.put({.offset = 0,
                              .length = 0,
                              .tag = i,
                              .slot = kNoSlot,
                              .op = static_cast<std::uint8_t>(Op::Flush),
                              .resource = 0,
                              .reserved = 0}));
        static_cast<void>(liar.publish());
        const auto job = server.take();
        if (!job) break;
        ASSERT_TRUE(*job);
        server.complete(**job, Status::Ok);
        server.publish();
        ++served;
    }
    EXPECT_EQ(served, kRingEntries + 1);
    EXPECT_FALSE(server.take());
    EXPECT_EQ(raw.rings().completions.tail.load(), kRingEntries);
}

TEST(IoSharedMemory, OfAnotherSizeIsRefused) {
    const auto small = must(sealed_memfd("test-ring", kSharedBytes - 4096));
    EXPECT_FALSE(SharedMemory::map(small));
}

}  // namespace
}  // namespace holdfast::io
