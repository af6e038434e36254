// SPDX-License-Identifier: Apache-2.0
#include "vmm/control/server.hpp"

#include <array>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sys/socket.hpp"
#include "tests/unit/vmm/control/fake_machine.hpp"

namespace holdfast::control {
namespace {

using testing::HasSubstr;

constexpr std::string_view kNegotiate = "{\"execute\":\"qmp_capabilities\"}";

class ServerTest : public testing::Test {
protected:
    void SetUp() override {
        std::string form = testing::TempDir() + "hf-control-XXXXXX";
        ASSERT_NE(::mkdtemp(form.data()), nullptr);
        folder = form;
        server = Server::create(listen_unix(path()).value(), poller, {1, 2}, machine).value();
    }
    void TearDown() override {
        server.reset();
        std::filesystem::remove_all(folder);
    }
    std::string path() const { return folder + "/qmp"; }
    UniqueFd connect() { return connect_unix(path()).value(); }

    /// Serves until nothing is pending; how many wake-ups that took.
    int turn() {
        int turns = 0;
        std::array<epoll_event, 4> events{};
        for (; turns < 10000; ++turns) {
            const auto got = poller.wait(events, 0).value();
            if (got.empty()) break;
            for (const epoll_event& event : got) server->on_ready(event.data.u64);
        }
        EXPECT_LT(turns, 10000) << "the loop does not come to rest";
        return turns;
    }
    static void put(const UniqueFd& client, std::string_view text) {
        ASSERT_EQ(::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }
    static std::string take(const UniqueFd& client) {
        std::string all;
        std::array<char, 4096> chunk{};
        for (;;) {
            const ssize_t got = ::recv(client.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
            if (got == 0) return all + "<end>";
            if (got < 0) return all;
            all.append(chunk.data(), static_cast<std::size_t>(got));
        }
    }
    std::string say(const UniqueFd& client, std::string_view text) {
        put(client, text);
        turn();
        return take(client);
    }
    UniqueFd negotiated() {
        UniqueFd client = connect();
        turn();
        say(client, kNegotiate);
        return client;
    }

    std::string folder;
    Poller poller = Poller::create().value();
    FakeMachine machine;
    std::unique_ptr<Server> server;
};

TEST_F(ServerTest, ClientIsGreetedAndAnswered) {
    const UniqueFd client = connect();
    turn();
    EXPECT_THAT(take(client), HasSubstr("{\"QMP\":"));
    EXPECT_EQ(say(client, kNegotiate), "{\"return\":{}}\r\n");
    EXPECT_EQ(say(client, R"({"execute":"query-name","id":7})"),
              "{\"id\":7,\"return\":{\"name\":\"kelp\"}}\r\n");
}

TEST_F(ServerTest, CommandsSplitAndJoinedAreAnsweredInOrder) {
    const UniqueFd client = negotiated();
    EXPECT_EQ(say(client, R"({"execute":"query-)"), "");
    EXPECT_EQ(say(client, R"(name","id":1}{"execute":"stop","id":2}{"exe)"),
              "{\"id\":1,\"return\":{\"name\":\"kelp\"}}\r\n{\"id\":2,\"return\":{}}\r\n");
}

TEST_F(ServerTest, SecondClientWaitsAndIsServedNext) {
    UniqueFd first = negotiated();
    const UniqueFd second = connect();
    put(second, kNegotiate);
    EXPECT_EQ(turn(), 0) << "a waiting client must not keep the loop awake";
    EXPECT_EQ(take(second), "");
    first.reset();
    turn();
    EXPECT_THAT(take(second), testing::EndsWith("{\"return\":{}}\r\n"));
}

TEST_F(ServerTest, EventsReachOnlyANegotiatedClient) {
    const UniqueFd client = connect();
    turn();
    take(client);
    server->emit({.kind = EventKind::Resume});
    EXPECT_EQ(take(client), "");
    say(client, kNegotiate);
    server->emit({.kind = EventKind::Resume});
    EXPECT_THAT(take(client), HasSubstr("\"RESUME\""));
}

TEST_F(ServerTest, EventFromWithinACommandComesBeforeItsAnswer) {
    machine.on_stop = [this] { server->emit({.kind = EventKind::Stop}); };
    const UniqueFd client = negotiated();
    const std::string said = say(client, R"({"execute":"stop"})");
    EXPECT_LT(said.find("STOP"), said.find("return"));
}

TEST_F(ServerTest, ClientThatSendsAndClosesItsHalfGetsItsAnswers) {
    const UniqueFd client = connect();
    put(client, std::string{kNegotiate} + R"({"execute":"stop"})");
    ::shutdown(client.get(), SHUT_WR);
    turn();
    EXPECT_THAT(take(client), testing::EndsWith("{\"return\":{}}\r\n{\"return\":{}}\r\n<end>"));
    EXPECT_EQ(machine.state, RunState::Paused);
}

TEST_F(ServerTest, ClientThatDoesNotReadIsNotReadFromEither) {
    const UniqueFd client = negotiated();
    std::string all;
    const std::string asks = R"({"execute":"query-qmp-schema"})";
    std::size_t sent = 0;
    for (;; ++sent) {
        if (::send(client.get(), asks.data(), asks.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) break;
        turn();
    }
    EXPECT_EQ(turn(), 0);
    std::size_t answers = 0;
    for (std::string got = take(client); !got.empty(); turn(), got = take(client)) {
        for (std::size_t at = 0; (at = got.find("\r\n", at)) != std::string::npos; ++at) ++answers;
    }
    EXPECT_EQ(answers, sent) << "and all is answered once it reads";
}

TEST_F(ServerTest, ClientThatLetsEventsPileUpIsDropped) {
    const UniqueFd client = negotiated();
    std::size_t events = 0;
    for (; events < 100000; ++events) {
        server->emit({.kind = EventKind::Stop});
    }
    EXPECT_THAT(take(client), testing::EndsWith("<end>"));
    const UniqueFd next = connect();
    turn();
    EXPECT_THAT(take(next), HasSubstr("QMP"));
}

TEST_F(ServerTest, MessageBeyondTheLimitEndsItsClientOnly) {
    for (const std::string& bad : {"\"" + std::string(kMaxText, 'x'), std::string(kMaxNesting + 1, '{')}) {
        const UniqueFd client = negotiated();
        std::string_view rest = bad;
        while (!rest.empty()) {
            const ssize_t put =
                ::send(client.get(), rest.data(), std::min<std::size_t>(rest.size(), 4096), MSG_NOSIGNAL);
            if (put < 0) break;
            rest.remove_prefix(static_cast<std::size_t>(put));
            turn();
        }
        EXPECT_THAT(take(client), testing::AllOf(HasSubstr("limit exceeded"), testing::EndsWith("<end>")));
    }
}

TEST_F(ServerTest, SessionGoesOnInAnotherServer) {
    UniqueFd client = negotiated();
    UniqueFd session = server->release_session();
    ASSERT_TRUE(session);
    EXPECT_FALSE(server->release_session());
    put(client, R"({"execute":"query-name"})");

    const std::string other_path = folder + "/other";
    FakeMachine other;
    auto heir = Server::create(listen_unix(other_path).value(), poller, {3, 4}, other).value();
    ASSERT_TRUE(heir->adopt_session(std::move(session), Cause::GuestReset).has_value());
    std::array<epoll_event, 4> events{};
    const auto ready = poller.wait(events, 0).value();
    for (const epoll_event& event : ready) heir->on_ready(event.data.u64);
    const std::string said = take(client);
    EXPECT_THAT(said, HasSubstr(R"("data":{"guest":true,"reason":"guest-reset"},"event":"RESET")"));
    EXPECT_THAT(said, testing::EndsWith("{\"return\":{\"name\":\"kelp\"}}\r\n"));
}

TEST_F(ServerTest, SessionThatHasNotNegotiatedIsNotHandedOver) {
    const UniqueFd client = connect();
    turn();
    EXPECT_FALSE(server->release_session());
}

TEST_F(ServerTest, WaitingClientIsServedAfterTheSessionWasReleased) {
    const UniqueFd first = negotiated();
    const UniqueFd second = connect();
    const UniqueFd session = server->release_session();
    turn();
    EXPECT_THAT(take(second), HasSubstr("QMP"));
}

TEST_F(ServerTest, DrainGivesUpOnAClientThatDoesNotRead) {
    const UniqueFd client = negotiated();
    for (int i = 0; i < 3000; ++i) server->emit({.kind = EventKind::Stop});
    server->drain(std::chrono::milliseconds{1});
    EXPECT_THAT(take(client), testing::Not(testing::EndsWith("<end>")));
    server->drain(std::chrono::seconds{10});
    EXPECT_THAT(take(client), testing::EndsWith("}\r\n"));
}

}  // namespace
}  // namespace holdfast::control
