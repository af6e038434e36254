// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/session.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "guest_agent/crypto/kdf.hpp"
#include "tests/unit/guest_agent/call/pair.hpp"

namespace holdfast::agent::call {
namespace {

class Sessions : public testing::Test {
protected:
    Key shared = random_key();
    [[nodiscard]] Handshake start(Side side) const { return *Handshake::create(settings_of(side), shared); }

    /// Whether a call from `asking` reaches `other`, whose hellos may have been changed on the way.
    static bool works(Result<Endpoint> asking, Result<Endpoint> other) {
        if (!asking || !other) return false;
        auto frame = frame_of(asking->request(1, 1, text("x"))->bytes);
        return other->receive(std::move(*frame)).has_value();
    }
};

TEST_F(Sessions, WorkBetweenTwoWhoShareASecret) {
    Ends ends = *meet(shared);
    EXPECT_TRUE(works(std::move(ends.caller), std::move(ends.called)));
}

TEST_F(Sessions, OtherSecretOpensNothing) {
    Handshake caller = start(Side::Caller);
    Handshake called = *Handshake::create(settings_of(Side::Called), random_key());
    const Frame hello = *frame_of(caller.hello());
    const Frame back = *frame_of(called.hello());
    EXPECT_FALSE(works(std::move(caller).finish(back), std::move(called).finish(hello)));
}

// Also what a downgrade is: the versions are in the hello.
TEST_F(Sessions, HelloWithAnyBitChangedGivesNoSession) {
    const std::size_t size = start(Side::Caller).hello().size();
    for (std::size_t bit = 0; bit < size * 8; ++bit) {
        Handshake caller = start(Side::Caller);
        Handshake called = start(Side::Called);
        std::vector<std::byte> changed{caller.hello().begin(), caller.hello().end()};
        changed[bit / 8] ^= std::byte{1} << (bit % 8);
        const Frame back = *frame_of(called.hello());
        const auto hello = frame_of(changed);
        if (!hello) continue;
        EXPECT_FALSE(works(std::move(caller).finish(back), std::move(called).finish(*hello))) << bit;
    }
}

TEST_F(Sessions, OfferOfOlderVersionsThatTheCarrierAddedIsNoticed) {
    Handshake caller = start(Side::Caller);
    Handshake called = start(Side::Called);
    std::vector<std::byte> changed{caller.hello().begin(), caller.hello().end()};
    changed[kHeaderBytes] = std::byte{0};  // "I speak 0 too"
    const Frame back = *frame_of(called.hello());
    auto end = std::move(called).finish(*frame_of(changed));
    ASSERT_TRUE(end) << "a peer that speaks more versions is no enemy by itself";
    EXPECT_FALSE(works(std::move(caller).finish(back), std::move(end)));
}

TEST_F(Sessions, PeerThatSpeaksOtherVersionsOnlyIsRefused) {
    for (const auto& [oldest, newest] : {std::pair{0, 0}, std::pair{2, 3}, std::pair{2, 1}}) {
        Handshake caller = start(Side::Caller);
        const Handshake called = start(Side::Called);
        std::vector<std::byte> changed{called.hello().begin(), called.hello().end()};
        changed[kHeaderBytes] = static_cast<std::byte>(oldest);
        changed[kHeaderBytes + 2] = static_cast<std::byte>(newest);
        EXPECT_FALSE(std::move(caller).finish(*frame_of(changed)));
    }
}

TEST_F(Sessions, OwnHelloThatComesBackIsRefused) {
    Handshake caller = start(Side::Caller);
    const Frame own = *frame_of(caller.hello());
    EXPECT_FALSE(std::move(caller).finish(own));
}

TEST_F(Sessions, OtherGuestOfTheGroupIsRefused) {
    for (const auto& [own, peer] : {std::pair{"carl", "ann"}, std::pair{"bob", "carl"}}) {
        Handshake caller = start(Side::Caller);
        SessionSettings settings = settings_of(Side::Called);
        settings.own_name = own;
        settings.peer_name = peer;
        const Handshake other = *Handshake::create(settings, shared);
        EXPECT_FALSE(std::move(caller).finish(*frame_of(other.hello()))) << own << peer;
    }
}

TEST_F(Sessions, OtherGroupOrEpochIsRefused) {
    Handshake caller = start(Side::Caller);
    SessionSettings settings = settings_of(Side::Called);
    settings.context = {std::byte{8}};
    const Handshake other = *Handshake::create(settings, shared);
    EXPECT_FALSE(std::move(caller).finish(*frame_of(other.hello())));
}

TEST_F(Sessions, RecordedSessionDoesNotPlayAgain) {
    Handshake caller = start(Side::Caller);
    Handshake called = start(Side::Called);
    const Frame hello = *frame_of(caller.hello());
    Endpoint end = *std::move(caller).finish(*frame_of(called.hello()));
    const auto recorded = end.request(1, 1, text("pay"))->bytes;
    Endpoint first = *std::move(called).finish(hello);
    ASSERT_TRUE(first.receive(*frame_of(recorded)));

    Endpoint second = *start(Side::Called).finish(hello);
    EXPECT_FALSE(second.receive(*frame_of(recorded)));
}

TEST_F(Sessions, SettingsThatCannotBeSentAreRefused) {
    SessionSettings settings = settings_of(Side::Caller);
    settings.own_name = std::string(kMaxName + 1, 'a');
    EXPECT_FALSE(Handshake::create(settings, shared));
    settings.own_name = "";
    EXPECT_FALSE(Handshake::create(settings, shared));
}

}  // namespace
}  // namespace holdfast::agent::call
