// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/exchange.hpp"

#include <gtest/gtest.h>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <future>

#include "guest_agent/crypto/keys.hpp"
#include "sys/socket.hpp"

namespace holdfast::agent {
namespace {

using channel::Appraisal;
using channel::Channel;
using channel::Deadline;
using channel::TlsIdentity;
using channel::TlsStream;

Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds{20}; }

class Exchanges : public testing::Test {
protected:
    static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
    /// Both programs to their ends, the listening side's first. `renewal`: of the client.
    std::pair<Result<void>, Result<void>> run(const std::string& listens, const std::string& connects,
                                              std::chrono::seconds renewal = std::chrono::seconds{1000}) {
        auto [one, other] = *socket_pair(SOCK_STREAM);
        auto far = std::async(std::launch::async, [&, wire = std::move(other)]() mutable {
            const auto done = serve(std::move(wire), listens);
            served.set_value();
            return done;
        });
        auto near = connect(std::move(one), connects, renewal);
        return {far.get(), near};
    }
    std::string read(const std::string& name) const {
        std::ifstream file{folder + "/" + name};
        return {std::istreambuf_iterator<char>{file}, {}};
    }
    std::string folder = [] {
        std::string made = testing::TempDir() + "exchange-XXXXXX";
        return std::string{::mkdtemp(made.data())};
    }();

private:
    Result<void> serve(UniqueFd wire, const std::string& script) {
        const TlsIdentity own = HF_TRY(TlsIdentity::create());
        TlsStream stream = HF_TRY(TlsStream::accept(std::move(wire), own, soon()));
        Channel channel = HF_TRY(Channel::create(std::move(stream), own, of_server, soon()));
        return exchange(channel, {"/bin/sh", "-c", "cd " + folder + "; " + script}, std::chrono::seconds{0});
    }
    Result<void> connect(UniqueFd wire, const std::string& script, std::chrono::seconds renewal) {
        const TlsIdentity own = HF_TRY(TlsIdentity::create());
        TlsStream stream = HF_TRY(TlsStream::connect(std::move(wire), own, std::nullopt, soon()));
        Channel channel = HF_TRY(Channel::create(std::move(stream), own, of_client, soon()));
        return exchange(channel, {"/bin/sh", "-c", "cd " + folder + "; " + script}, renewal);
    }
    SigningKey machine = *make_signing_key();
    Appraisal trusting{.make = [this](const Digest256& binding) -> Result<std::vector<std::byte>> {
                           const auto signature = HF_TRY(sign(machine.secret, binding));
                           return std::vector<std::byte>{signature.begin(), signature.end()};
                       },
                       .judge = [this](const Digest256& binding, Bytes evidence) -> Result<void> {
                           if (is_signed(machine.shared, binding, evidence)) return {};
                           return peer_fault("no evidence");
                       },
                       .context = {}};

protected:
    Appraisal of_client = trusting;
    Appraisal of_server = trusting;
    std::promise<void> served;
};

TEST_F(Exchanges, EachProgramReadsWhatTheOtherWritesToItsEnd) {
    const auto [far, near] =
        run("read q; echo \"$q to you\"; exec >&-; cat >rest", "echo hello; exec >&-; cat >answer");
    EXPECT_TRUE(far && near);
    EXPECT_EQ(read("answer"), "hello to you\n");
    EXPECT_EQ(read("rest"), "");
}

TEST_F(Exchanges, MuchGoesBothWaysAtOnceWhileEvidenceIsRenewed) {
    const std::string script = "head -c 2000000 /dev/zero & exec >&-; cat | wc -c >";
    const auto [far, near] = run(script + "far; wait", script + "near; wait", std::chrono::seconds{0});
    ASSERT_TRUE(far) << far.error().what;
    ASSERT_TRUE(near) << near.error().what;
    EXPECT_EQ(read("far"), "2000000\n");
    EXPECT_EQ(read("near"), "2000000\n");
}

TEST_F(Exchanges, ProgramThatDoesNotListenLosesNothingOfItsOwn) {
    const auto [far, near] = run("echo said; exec <&-", "head -c 200000 /dev/zero; cat >heard");
    EXPECT_TRUE(far && near);
    EXPECT_EQ(read("heard"), "said\n");
}

TEST_F(Exchanges, ProgramThatFailsIsAnErrorOfItsSideAlone) {
    const auto [far, near] = run("cat; exit 3", "echo x; exec >&-; cat >/dev/null");
    EXPECT_FALSE(far);
    EXPECT_TRUE(near);
}

// Nothing is said and nothing comes, and still nobody goes on as if the evidence counted.
TEST_F(Exchanges, WithoutFreshEvidenceAnIdleChannelEnds) {
    std::atomic<int> looks = 0;
    of_server.clock = [&looks] { return BootClock::time_point{std::chrono::hours{++looks > 3 ? 2 : 0}}; };
    const auto [far, near] = run("read never", "read never");
    ASSERT_FALSE(far);
    EXPECT_NE(std::string_view{far.error().what}.find("evidence"), std::string_view::npos)
        << far.error().what;
    EXPECT_FALSE(near);
}

// The client asks for fresh evidence, and stands still before it shows its own.
TEST_F(Exchanges, ARenewalIsNotWaitedForLongerThanEvidenceCounts) {
    of_client.make = [this, make = of_client.make,
                      times = 0](const Digest256& binding) mutable -> Result<std::vector<std::byte>> {
        if (++times == 1) return make(binding);
        served.get_future().wait();
        return input_error("the server has gone");
    };
    // Little is left behind the first challenge.
    of_server.clock = [looks = 0]() mutable {
        return BootClock::time_point{std::chrono::milliseconds{++looks == 1 ? 0 : 3'599'990}};
    };
    const auto [far, near] = run("read never", "read never", std::chrono::seconds{0});
    EXPECT_FALSE(far);
    EXPECT_FALSE(near);
}

}  // namespace
}  // namespace holdfast::agent
