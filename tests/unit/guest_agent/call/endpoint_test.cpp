// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/endpoint.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <deque>
#include <random>

#include "guest_agent/crypto/kdf.hpp"
#include "tests/unit/guest_agent/call/pair.hpp"

namespace holdfast::agent::call {
namespace {

Result<Incoming> deliver(Endpoint& to, Bytes bytes) {
    auto frame = frame_of(bytes);
    if (!frame) return peer_fault("not one frame");
    return to.receive(std::move(*frame));
}

bool is(const SecretBuffer& body, std::string_view words) {
    return std::ranges::equal(body.bytes(), text(words));
}

class Calls : public testing::Test {
protected:
    Key shared = random_key();
    Ends ends = *meet(shared);
    std::vector<std::byte> asked(std::string_view body) {
        return ends.caller.request(2, 3, text(body))->bytes;
    }
};

TEST_F(Calls, RequestAndReplyArriveAsTheyWereSent) {
    const auto incoming = deliver(ends.called, asked("question"));
    const auto& request = std::get<Request>(incoming.value());
    EXPECT_EQ(request.service, 2);
    EXPECT_EQ(request.method, 3);
    EXPECT_TRUE(is(request.body, "question"));
    const auto back = deliver(ends.caller, *ends.called.reply(request.id, text("answer")));
    EXPECT_TRUE(is(std::get<Reply>(back.value()).body, "answer"));
    EXPECT_EQ(ends.caller.waiting(), 0U);
}

TEST_F(Calls, CarrierSeesNoByteOfABody) {
    const std::string secret(64, 'S');
    const auto bytes = asked(secret);
    EXPECT_TRUE(std::ranges::search(bytes, text("SSSS")).empty());
}

TEST_F(Calls, BothSidesMayAskAtOnce) {
    const auto down = ends.called.request(9, 9, text("down"));
    const auto up = asked("up");
    EXPECT_TRUE(is(std::get<Request>(deliver(ends.called, up).value()).body, "up"));
    EXPECT_TRUE(is(std::get<Request>(deliver(ends.caller, down->bytes).value()).body, "down"));
    EXPECT_TRUE(
        is(std::get<Reply>(deliver(ends.called, *ends.caller.reply(1, text("d"))).value()).body, "d"));
    EXPECT_TRUE(
        is(std::get<Reply>(deliver(ends.caller, *ends.called.reply(1, text("u"))).value()).body, "u"));
}

TEST_F(Calls, RepliesMayComeInAnotherOrderThanTheQuestions) {
    ASSERT_TRUE(deliver(ends.called, asked("1")));
    ASSERT_TRUE(deliver(ends.called, asked("2")));
    EXPECT_EQ(std::get<Reply>(deliver(ends.caller, *ends.called.reply(2, text("two"))).value()).id, 2U);
    EXPECT_EQ(std::get<Reply>(deliver(ends.caller, *ends.called.reply(1, text("one"))).value()).id, 1U);
}

TEST_F(Calls, RefusalIsARefusalAndNoReply) {
    ASSERT_TRUE(deliver(ends.called, asked("1")));
    const auto back = deliver(ends.caller, *ends.called.refuse(1, 77));
    EXPECT_EQ(std::get<Refusal>(back.value()).code, 77);
    EXPECT_EQ(ends.caller.waiting(), 0U);
}

TEST_F(Calls, FrameThatIsRepeatedOrDroppedEndsTheConversation) {
    const auto first = asked("1");
    const auto second = asked("2");
    ASSERT_TRUE(deliver(ends.called, first));
    Ends others = *meet(shared);
    EXPECT_FALSE(deliver(ends.called, first));
    EXPECT_FALSE(deliver(ends.called, second)) << "it goes on after an error";
    EXPECT_TRUE(ends.called.has_failed());
    EXPECT_FALSE(ends.called.reply(1, {}));
    EXPECT_FALSE(ends.called.request(1, 1, {}));
    const auto dropped = others.caller.request(1, 1, {});
    EXPECT_FALSE(deliver(others.called, others.caller.request(1, 1, {})->bytes));
}

TEST_F(Calls, FrameOfAnotherSessionIsNoFrameOfThis) {
    Ends others = *meet(shared);
    EXPECT_FALSE(deliver(ends.called, others.caller.request(2, 3, text("1"))->bytes));
    EXPECT_FALSE(deliver(ends.caller, asked("back to who sent it")));
}

TEST_F(Calls, EveryBitOfARequestIsProtected) {
    const auto bytes = asked("ab");
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        Ends fresh = *meet(shared);
        auto changed = fresh.caller.request(2, 3, text("ab"))->bytes;
        changed[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(deliver(fresh.called, changed)) << bit;
    }
}

TEST_F(Calls, EveryBitOfAReplyIsProtected) {
    for (std::size_t bit = 0; bit < (kHeaderBytes + 2 + kTagBytes) * 8; ++bit) {
        Ends fresh = *meet(shared);
        ASSERT_TRUE(deliver(fresh.called, fresh.caller.request(2, 3, text("ab"))->bytes));
        auto changed = *fresh.called.reply(1, text("cd"));
        changed[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(deliver(fresh.caller, changed)) << bit;
        EXPECT_EQ(fresh.caller.waiting(), 1U) << "the call got an answer from a changed frame";
    }
}

/// Both ends with the same keys as another pair: what a peer with a bug, or one that answers from a table,
/// can do.
struct Twins {
    DirectionKeys up{.key = random_key(), .start = {}};
    DirectionKeys down{.key = random_key(), .start = {}};
    [[nodiscard]] Ends make() const {
        return {.caller = *Endpoint::with_guest(up, down), .called = *Endpoint::with_guest(down, up)};
    }
};

TEST_F(Calls, GenuineAnswerToAnotherQuestionIsRefused) {
    // The same keys, numbers, service and method; only what was asked differs.
    const Twins twins;
    Ends one = twins.make();
    Ends other = twins.make();
    const auto mine = one.caller.request(2, 3, text("file a"));
    const auto theirs = other.caller.request(2, 3, text("file b"));
    ASSERT_TRUE(deliver(other.called, theirs->bytes));
    const auto answer = *other.called.reply(1, text("contents of b"));
    EXPECT_FALSE(deliver(one.caller, answer));
    EXPECT_TRUE(deliver(other.caller, answer)) << "the test itself is wrong";
}

TEST(PlainCalls, AnswerMustBeOfWhatWasAsked) {
    const auto reply = [](Header header) {
        const HeaderBytes head = encode(header);
        return std::vector<std::byte>{head.begin(), head.end()};
    };
    const std::vector<Header> wrong{
        {.kind = Kind::Reply, .service = 2, .method = 4, .request = 1},
        {.kind = Kind::Reply, .service = 1, .method = 3, .request = 1},
        {.kind = Kind::Reply, .service = 2, .method = 3, .request = 2},
        {.kind = Kind::Reply, .service = 2, .method = 3, .request = 1, .sequence = 1},
        {.kind = Kind::Refusal, .service = 2, .method = 3, .request = 1},
        {.kind = Kind::Request, .service = 2, .method = 3, .request = 2},
        {.kind = Kind::Hello},
    };
    for (const Header& header : wrong) {
        Endpoint guest = Endpoint::with_host();
        ASSERT_TRUE(guest.request(2, 3, {}));
        EXPECT_FALSE(deliver(guest, reply(header)));
    }
    Endpoint guest = Endpoint::with_host();
    ASSERT_TRUE(guest.request(2, 3, {}));
    EXPECT_TRUE(deliver(guest, reply({.kind = Kind::Reply, .service = 2, .method = 3, .request = 1})));
}

TEST(PlainCalls, NeitherSideCanPileUpRequests) {
    Endpoint guest = Endpoint::with_host();
    Endpoint host = Endpoint::with_host();
    for (std::size_t i = 0; i < kMaxPending; ++i) ASSERT_TRUE(deliver(guest, host.request(1, 1, {})->bytes));
    EXPECT_FALSE(host.request(1, 1, {}));
    Endpoint greedy = Endpoint::with_host();
    const HeaderBytes head = encode({.kind = Kind::Request,
                                     .service = 1,
                                     .method = 1,
                                     .request = kMaxPending + 1,
                                     .sequence = kMaxPending});
    EXPECT_FALSE(deliver(guest, head));
    EXPECT_FALSE(greedy.request(1, 1, std::vector<std::byte>(kMaxBody + 1)));
}

// A carrier that does what it likes, against a model: what an end accepts is what the other end sent, in its
// order; and after the first thing that was not, it accepts nothing more.

struct Sent {
    std::vector<std::byte> wire;
    std::string body;
    Kind kind = Kind::Request;
};

class Carrier {
public:
    explicit Carrier(std::uint64_t seed, const Key& shared) : random_{seed}, ends_{*meet(shared)} {}

    void step() {
        const int what = pick(30);
        if (what < 12) ask(pick(2));
        else if (what < 19) answer(pick(2));
        else if (what < 29) carry(pick(2));
        else attack(pick(2));
    }
    [[nodiscard]] std::size_t accepted() const { return accepted_; }
    [[nodiscard]] std::size_t refused() const { return refused_; }

private:
    struct Direction {
        std::deque<Sent> on_the_way;
        FrameReader reader;
        bool broken = false;
    };

    int pick(int below) { return std::uniform_int_distribution<int>{0, below - 1}(random_); }
    Endpoint& end(int side) { return side == 0 ? ends_.caller : ends_.called; }
    std::string words() {
        return std::string(static_cast<std::size_t>(pick(40)), static_cast<char>('a' + pick(26)));
    }

    void ask(int from) {
        std::string body = words();
        auto sent = end(from).request(static_cast<std::uint16_t>(pick(3)), 1, text(body));
        if (sent) put(from, {.wire = sent->bytes, .body = std::move(body), .kind = Kind::Request});
    }
    void answer(int from) {
        auto& open = to_answer_[static_cast<std::size_t>(from)];
        if (open.empty()) return;
        const auto chosen = open.begin() + pick(static_cast<int>(open.size()));
        std::string body = words();
        auto sent = end(from).reply(*chosen, text(body));
        open.erase(chosen);
        if (sent) put(from, {.wire = *sent, .body = std::move(body), .kind = Kind::Reply});
    }
    void put(int from, Sent sent) {
        history_.push_back(sent.wire);
        directions_[static_cast<std::size_t>(from)].on_the_way.push_back(std::move(sent));
    }

    void carry(int from) {
        auto& direction = directions_[static_cast<std::size_t>(from)];
        if (direction.on_the_way.empty()) return;
        const Sent sent = std::move(direction.on_the_way.front());
        direction.on_the_way.pop_front();
        arrive(from, sent.wire, &sent);
    }

    void attack(int from) {
        auto& direction = directions_[static_cast<std::size_t>(from)];
        auto& queue = direction.on_the_way;
        if (history_.empty()) return;
        std::vector<std::byte> wire =
            history_[static_cast<std::size_t>(pick(static_cast<int>(history_.size())))];
        switch (pick(5)) {
            case 0:  // drop, and then the next
                if (queue.size() < 2) return;
                queue.pop_front();
                wire = queue.front().wire;
                break;
            case 1:  // reorder
                if (queue.size() < 2) return;
                wire = queue[1].wire;
                break;
            case 2:  // any frame there ever was, of either direction
                if (!queue.empty() && wire == queue.front().wire) return;
                break;
            case 3: {  // the right frame with one bit changed
                if (queue.empty()) return;
                wire = queue.front().wire;
                const int bit = pick(static_cast<int>(wire.size()) * 8);
                wire[static_cast<std::size_t>(bit / 8)] ^= std::byte{1} << (bit % 8);
                break;
            }
            default:  // the header of one and the body of another
                if (queue.empty() || wire == queue.front().wire) return;
                std::copy_n(queue.front().wire.begin(), std::min(wire.size(), kHeaderBytes), wire.begin());
                if (wire == queue.front().wire) return;
                break;
        }
        arrive(from, wire, nullptr);
    }

    /// As the agent does it: a stream, in which a length that was changed moves what follows.
    void arrive(int from, Bytes wire, const Sent* sent) {
        auto& direction = directions_[static_cast<std::size_t>(from)];
        for (;;) {
            auto frame = direction.reader.take(wire);
            if (!frame) {
                ++refused_;
                direction.broken = true;
                return;
            }
            if (!*frame) {
                direction.broken = direction.broken || !sent;
                return;
            }
            judge(from, end(1 - from).receive(std::move(**frame)), sent);
            if (testing::Test::HasFailure()) return;
        }
    }

    /// `sent`: what it may be, if it may be anything.
    void judge(int from, const Result<Incoming>& got, const Sent* sent) {
        auto& direction = directions_[static_cast<std::size_t>(from)];
        // One end's failure is of both directions: what it would send is not sent.
        if (!got) {
            ++refused_;
            direction.broken = true;
            EXPECT_TRUE(end(1 - from).has_failed());
            return;
        }
        ASSERT_NE(sent, nullptr) << "an end took what the other did not send";
        ASSERT_FALSE(direction.broken) << "an end went on after an attack";
        ++accepted_;
        if (const auto* const request = std::get_if<Request>(&*got)) {
            EXPECT_EQ(sent->kind, Kind::Request);
            EXPECT_TRUE(is(request->body, sent->body));
            to_answer_[static_cast<std::size_t>(1 - from)].push_back(request->id);
        } else {
            EXPECT_EQ(sent->kind, Kind::Reply);
            EXPECT_TRUE(is(std::get<Reply>(*got).body, sent->body));
        }
    }

    std::mt19937_64 random_;
    Ends ends_;
    std::array<Direction, 2> directions_;
    std::array<std::vector<std::uint64_t>, 2> to_answer_;
    std::vector<std::vector<std::byte>> history_;
    std::size_t accepted_ = 0;
    std::size_t refused_ = 0;
};

TEST(HostileCarrier, MakesAnEndTakeNothingButWhatTheOtherSent) {
    const Key shared = random_key();
    const std::uint64_t seeds = std::getenv("HOLDFAST_LONG") ? 20000 : 400;
    std::size_t accepted = 0;
    std::size_t refused = 0;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        SCOPED_TRACE(seed);
        Carrier carrier{seed, shared};
        for (int step = 0; step < 100; ++step) carrier.step();
        accepted += carrier.accepted();
        refused += carrier.refused();
        if (testing::Test::HasFailure()) return;
    }
    // The walk must have seen both; a walk that fails at once shows nothing.
    EXPECT_GT(accepted, seeds * 5);
    EXPECT_GT(refused, seeds);
}

}  // namespace
}  // namespace holdfast::agent::call
