// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/channel/channel.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <future>

#include <openssl/ssl.h>

#include "guest_agent/crypto/kdf.hpp"
#include "guest_agent/crypto/keys.hpp"
#include "sys/free_with.hpp"
#include "sys/socket.hpp"

namespace holdfast::agent::channel {
namespace {

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds{20}; }

/// Stands in for TPM and verifier: a signature of the binding by the one machine that both trust.
struct Machine {
    SigningKey key = *make_signing_key();
    [[nodiscard]] Appraisal appraisal() const {
        return {.make = [this](const Digest256& binding) -> Result<std::vector<std::byte>> {
                    const auto signature = HF_TRY(sign(key.secret, binding));
                    return std::vector<std::byte>{signature.begin(), signature.end()};
                },
                .judge = [this](const Digest256& binding, Bytes evidence) -> Result<void> {
                    if (!is_signed(key.shared, binding, evidence)) return peer_fault("no evidence");
                    return {};
                },
                .context = {}};
    }
};

class Channels : public testing::Test {
protected:
    static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
    using Made = Result<Channel>;
    std::pair<UniqueFd, UniqueFd> wires() { return *socket_pair(SOCK_STREAM); }
    Made client(UniqueFd wire, const TlsIdentity& who, const Appraisal& appraisal) {
        TlsStream stream = HF_TRY(TlsStream::connect(std::move(wire), who, std::nullopt, soon()));
        return Channel::create(std::move(stream), who, appraisal, soon());
    }
    Made server(UniqueFd wire, const TlsIdentity& who, const Appraisal& appraisal) {
        TlsStream stream = HF_TRY(TlsStream::accept(std::move(wire), who, soon()));
        return Channel::create(std::move(stream), who, appraisal, soon());
    }
    std::pair<Made, Made> meet(const Appraisal& of_client, const Appraisal& of_server) {
        auto [one, other] = wires();
        auto far = std::async(std::launch::async, [this, &of_server, wire = std::move(other)]() mutable {
            return server(std::move(wire), bob, of_server);
        });
        Made near = client(std::move(one), ann, of_client);
        // Whoever gives up closes, so that the other does not wait.
        if (!near) near = near.error();
        return {std::move(near), far.get()};
    }
    TlsIdentity ann = *TlsIdentity::create();
    TlsIdentity bob = *TlsIdentity::create();
    Machine machine;
    Appraisal trusting = machine.appraisal();
};

TEST_F(Channels, CarryMessagesBothWays) {
    auto [near, far] = meet(trusting, trusting);
    ASSERT_TRUE(near) << near.error().what;
    ASSERT_TRUE(far) << far.error().what;
    ASSERT_TRUE(near->send(text("up"), soon()));
    EXPECT_TRUE(std::ranges::equal(far->receive(soon())->bytes(), text("up")));
    ASSERT_TRUE(far->send(text("down"), soon()));
    EXPECT_TRUE(std::ranges::equal(near->receive(soon())->bytes(), text("down")));
    EXPECT_TRUE(std::ranges::equal(near->peer_key(), bob.key()));
}

TEST_F(Channels, SideWithoutEvidenceGetsNone) {
    const Machine other;
    const Appraisal liar = other.appraisal();
    for (const bool client_lies : {true, false}) {
        auto [near, far] = client_lies ? meet(liar, trusting) : meet(trusting, liar);
        EXPECT_FALSE(near);
        EXPECT_FALSE(far);
    }
}

TEST_F(Channels, OtherContextIsAnotherBinding) {
    Appraisal next_epoch = machine.appraisal();
    next_epoch.context = {std::byte{2}};
    auto [near, far] = meet(next_epoch, trusting);
    EXPECT_FALSE(near);
    EXPECT_FALSE(far);
}

// Somebody in the middle has a TLS connection with each, and hands challenges and evidence through.
TEST_F(Channels, RelayIsFoundOut) {
    auto [ann_wire, to_ann] = wires();
    auto [bob_wire, to_bob] = wires();
    auto far = std::async(std::launch::async, [&, wire = std::move(bob_wire)]() mutable {
        return server(std::move(wire), bob, trusting);
    });
    auto near = std::async(std::launch::async, [&, wire = std::move(ann_wire)]() mutable {
        return client(std::move(wire), ann, trusting);
    });
    const TlsIdentity eve = *TlsIdentity::create();
    {
        TlsStream of_ann = *TlsStream::accept(std::move(to_ann), eve, soon());
        TlsStream of_bob = *TlsStream::connect(std::move(to_bob), eve, std::nullopt, soon());
        const auto hand_on = [](TlsStream& from, TlsStream& to) {
            std::array<std::byte, 5> head{};
            if (!from.read(head, soon())) return false;
            std::vector<std::byte> body(std::to_integer<std::size_t>(head[3]));
            return from.read(body, soon()) && to.write(head, soon()) && to.write(body, soon());
        };
        EXPECT_TRUE(hand_on(of_ann, of_bob)) << "challenge";
        EXPECT_TRUE(hand_on(of_bob, of_ann));
        EXPECT_TRUE(hand_on(of_ann, of_bob)) << "evidence";
        EXPECT_FALSE(hand_on(of_bob, of_ann)) << "bob has shown his evidence to a relay";
    }
    EXPECT_FALSE(near.get());
    EXPECT_FALSE(far.get());
}

// A peer that answers with the very bytes that it was sent.
TEST_F(Channels, ReflectionIsFoundOut) {
    auto [ann_wire, to_ann] = wires();
    auto near = std::async(std::launch::async, [&, wire = std::move(ann_wire)]() mutable {
        return client(std::move(wire), ann, trusting);
    });
    {
        const TlsIdentity eve = *TlsIdentity::create();
        TlsStream stream = *TlsStream::accept(std::move(to_ann), eve, soon());
        for (int message = 0; message < 2; ++message) {
            std::array<std::byte, 5> head{};
            ASSERT_TRUE(stream.read(head, soon()));
            std::vector<std::byte> body(std::to_integer<std::size_t>(head[3]));
            ASSERT_TRUE(stream.read(body, soon()) && stream.write(head, soon()) &&
                        stream.write(body, soon()));
        }
    }
    EXPECT_FALSE(near.get());
}

TEST_F(Channels, RenewalUsesFreshChallengesAndLosesNothing) {
    std::vector<Digest256> bindings;
    Appraisal watched = machine.appraisal();
    const auto make = watched.make;
    watched.make = [&](const Digest256& binding) {
        bindings.push_back(binding);
        return make(binding);
    };
    auto [near, far] = meet(watched, trusting);
    ASSERT_TRUE(near && far);
    ASSERT_TRUE(far->send(text("sent before"), soon()));
    auto again = std::async(std::launch::async, [&peer = *far] { return peer.take(soon()); });
    EXPECT_TRUE(near->renew(soon()));
    const auto taken = again.get();
    EXPECT_TRUE(taken && !*taken);
    ASSERT_EQ(bindings.size(), 2U);
    EXPECT_NE(bindings[0], bindings[1]);
    EXPECT_TRUE(near->is_readable());
    EXPECT_TRUE(std::ranges::equal(near->receive(soon())->bytes(), text("sent before")));
    ASSERT_TRUE(near->send(text("x"), soon()));
    EXPECT_TRUE(far->receive(soon()));
}

TEST_F(Channels, RenewalWithoutEvidenceEndsTheChannel) {
    bool lies = false;
    const Machine other;
    Appraisal liar = machine.appraisal();
    liar.make = [&](const Digest256& binding) {
        return lies ? other.appraisal().make(binding) : machine.appraisal().make(binding);
    };
    auto [near, far] = meet(liar, trusting);
    ASSERT_TRUE(near && far);
    lies = true;
    auto again = std::async(std::launch::async, [peer = std::move(far)]() mutable {
        Channel own = std::move(*peer);  // and closes it, so that the other does not wait
        const bool is_taken = own.take(soon()).has_value();
        return is_taken || own.send(text("x"), soon()).has_value();
    });
    EXPECT_FALSE(near->renew(soon()));
    EXPECT_FALSE(again.get());
}

TEST_F(Channels, AServerCannotAskForARenewal) {
    auto [near, far] = meet(trusting, trusting);
    ASSERT_TRUE(near && far);
    EXPECT_FALSE(far->renew(soon()));
}

TEST_F(Channels, ExpiredEvidenceStopsTheChannelUntilItIsRenewed) {
    Appraisal short_lived = machine.appraisal();
    short_lived.lifetime = std::chrono::seconds{0};
    auto [near, far] = meet(short_lived, trusting);
    ASSERT_TRUE(near && far);
    EXPECT_TRUE(near->is_due());
    EXPECT_FALSE(near->send(text("x"), soon()));
    EXPECT_FALSE(near->receive(soon()));
}

/// A guest's clock, which its host makes.
struct Clock {
    std::atomic<int> hours = 10;
    std::atomic<int> readings = 1'000'000;  ///< until another hour is over
    void show(Appraisal& appraisal) {
        appraisal.lifetime = std::chrono::minutes{59};
        appraisal.clock = [this] {
            if (readings-- == 0) ++hours;
            return BootClock::time_point{std::chrono::hours{hours}};
        };
    }
};

class ChannelsOfAGuest : public Channels {
protected:
    ChannelsOfAGuest() { clock.show(own); }
    Clock clock;
    Appraisal own = machine.appraisal();
};

TEST_F(ChannelsOfAGuest, ThatStoodStillForAnHourAreNoLongerUsed) {
    auto [near, far] = meet(own, trusting);
    ASSERT_TRUE(near && far);
    ASSERT_TRUE(far->send(text("meanwhile"), soon()));
    ++clock.hours;
    EXPECT_TRUE(near->is_due());
    EXPECT_FALSE(near->receive(soon()));
    EXPECT_FALSE(near->send(text("x"), soon()));
    EXPECT_FALSE(near->renew(soon())) << "another channel is needed";
}

TEST_F(ChannelsOfAGuest, WhoseClockWasSetBackAreNoLongerUsed) {
    auto [near, far] = meet(own, trusting);
    ASSERT_TRUE(near && far);
    --clock.hours;
    EXPECT_TRUE(near->is_due());
    EXPECT_FALSE(near->send(text("x"), soon()));
}

TEST_F(ChannelsOfAGuest, ThatStoodStillWhileItWaitedTakeNothing) {
    auto [near, far] = meet(own, trusting);
    ASSERT_TRUE(near && far);
    ASSERT_TRUE(far->send(text("an hour ago"), soon()));
    clock.readings = 1;  // it looks once before it waits
    EXPECT_FALSE(near->receive(soon()));
    EXPECT_FALSE(near->send(text("x"), soon()));
}

// Evidence is as old as the question, whenever the answer is read.
TEST_F(ChannelsOfAGuest, ThatStoodStillWhileItAskedForEvidenceAreNotUsed) {
    for (const bool is_client : {true, false}) {
        clock.readings = 1'000'000;
        own.make = [this, of = trusting.make](const Digest256& binding) {
            ++clock.hours;
            return of(binding);
        };
        auto [near, far] = is_client ? meet(own, trusting) : meet(trusting, own);
        ASSERT_TRUE(near && far);
        const Channel& paused = is_client ? *near : *far;
        EXPECT_TRUE(paused.is_due());
    }
}

TEST_F(ChannelsOfAGuest, ThatStoodStillWhileItRenewedAreNotUsed) {
    auto [near, far] = meet(own, trusting);
    ASSERT_TRUE(near && far);
    own.make = [this, of = trusting.make](const Digest256& binding) {
        ++clock.hours;
        return of(binding);
    };
    auto again = std::async(std::launch::async, [&peer = *far] { return peer.take(soon()).has_value(); });
    std::ignore = near->renew(soon());
    EXPECT_TRUE(again.get());
    EXPECT_FALSE(near->send(text("x"), soon()));
}

TEST_F(ChannelsOfAGuest, ThatRenewInTimeGoOn) {
    own.lifetime = std::chrono::minutes{90};
    auto [near, far] = meet(own, trusting);
    ASSERT_TRUE(near && far);
    for (int hour = 0; hour < 3; ++hour) {
        ++clock.hours;
        auto again = std::async(std::launch::async, [&peer = *far] { return peer.take(soon()); });
        ASSERT_TRUE(near->renew(soon()));
        EXPECT_TRUE(again.get());
        EXPECT_TRUE(near->send(text("x"), soon()));
        EXPECT_TRUE(far->receive(soon()));
    }
}

TEST_F(Channels, PinnedKeyIsTheOnlyOneTaken) {
    for (const bool right : {true, false}) {
        auto [one, other] = wires();
        auto far = std::async(std::launch::async, [&, wire = std::move(other)]() mutable {
            return TlsStream::accept(std::move(wire), bob, soon()).has_value();
        });
        Sha256 hash;
        hash.update(right ? bob.key() : ann.key());
        EXPECT_EQ(TlsStream::connect(std::move(one), ann, hash.finish(), soon()).has_value(), right);
        far.get();
    }
}

TEST_F(Channels, OlderTlsIsRefused) {
    auto [one, other] = wires();
    auto far = std::async(std::launch::async, [&, wire = std::move(other)]() mutable {
        return TlsStream::accept(std::move(wire), bob, soon()).has_value();
    });
    {
        const std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>> context{SSL_CTX_new(TLS_client_method())};
        ASSERT_EQ(SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION), 1);
        const std::unique_ptr<SSL, FreeWith<SSL_free>> ssl{SSL_new(context.get())};
        SSL_set_fd(ssl.get(), one.get());
        EXPECT_NE(SSL_connect(ssl.get()), 1);
    }
    one.reset();
    EXPECT_FALSE(far.get());
}

TEST_F(Channels, PeerThatSaysNothingIsNotWaitedForLongerThanSaid) {
    auto [one, other] = wires();
    const auto done = TlsStream::connect(std::move(one), ann, std::nullopt, std::chrono::steady_clock::now());
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().os_errno, ETIMEDOUT);
}

}  // namespace
}  // namespace holdfast::agent::channel
