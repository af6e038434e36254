// SPDX-License-Identifier: Apache-2.0
// The guest's side of the broker's protocol, over real TLS, against brokers that answer what they like. The
// real one answers in tests/agent.
#include "guest_agent/agent/broker.hpp"

#include <gtest/gtest.h>
#include <algorithm>
#include <csignal>
#include <future>

#include "attest/broker/message.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/socket.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent {
namespace {

namespace wire = attest::broker;
using channel::TlsIdentity;
using channel::TlsStream;

channel::Deadline soon() { return std::chrono::steady_clock::now() + std::chrono::seconds{20}; }

std::vector<std::byte> secret_answer(std::string_view secret) {
    auto answer = wire::encode_secret_head(secret.size());
    const auto bytes = text(secret);
    answer.insert(answer.end(), bytes.begin(), bytes.end());
    return answer;
}

/// One answer after the other, whatever is asked.
struct Broker {
    std::vector<std::vector<std::byte>> answers;
    std::optional<std::uint32_t> announced;  ///< in place of the last one's length
    std::vector<wire::Request> asked;
    std::vector<std::vector<std::byte>> messages;  ///< which `asked` borrows from
    Digest256 bound{};                             ///< what evidence must be for

    void serve(UniqueFd socket, const TlsIdentity& own) {
        auto tls = TlsStream::accept(std::move(socket), own, soon());
        ASSERT_TRUE(tls);
        for (const auto& answer : answers) {
            Be<std::uint32_t> size{0};
            if (!tls->read(std::as_writable_bytes(std::span{&size, 1}), soon())) return;
            auto& message = messages.emplace_back(size.get());
            ASSERT_TRUE(tls->read(message, soon()));
            asked.push_back(*wire::decode_request(message));
            const bool is_last = &answer == &answers.back();
            size = Be<std::uint32_t>{is_last && announced ? *announced
                                                          : static_cast<std::uint32_t>(answer.size())};
            ASSERT_TRUE(tls->write(std::as_bytes(std::span{&size, 1}), soon()));
            if (!tls->write(answer, soon())) return;  // whom the length was too much for is gone
        }
        bound = *attest::channel_binding({.role = attest::ChannelRole::Client,
                                          .nonce = nonce,
                                          .exporter = *tls->exporter(),
                                          .own_key = tls->peer_key(),
                                          .peer_key = own.key()});
    }
    std::vector<std::byte> nonce = std::vector<std::byte>(wire::kNonceBytes, std::byte{7});
};

class AskBroker : public testing::Test {
protected:
    static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
    Result<SecretBuffer> ask() {
        auto [near, far] = *socket_pair(SOCK_STREAM);
        auto served = std::async(std::launch::async, [this, socket = std::move(far)]() mutable {
            broker.serve(std::move(socket), theirs);
        });
        const auto asked = [&]() -> Result<SecretBuffer> {
            auto tls = HF_TRY(TlsStream::connect(std::move(near), own, std::nullopt, soon()));
            return ask_broker(
                tls, own, "disk",
                [this](const Digest256& binding) -> Result<std::vector<std::byte>> {
                    shown = binding;
                    return evidence;
                },
                soon());
        };
        auto result = asked();
        served.get();
        return result;
    }
    void expect_refused(const char* why) {
        const auto result = ask();
        ASSERT_FALSE(result);
        EXPECT_NE(std::string_view{result.error().what}.find(why), std::string_view::npos)
            << result.error().what;
    }
    TlsIdentity own = *TlsIdentity::create();
    TlsIdentity theirs = *TlsIdentity::create();
    Broker broker;
    Result<std::vector<std::byte>> evidence = std::vector<std::byte>(100, std::byte{9});
    Digest256 shown{};
};

TEST_F(AskBroker, EvidenceForThisConnectionBringsTheSecret) {
    broker.answers = {wire::encode_nonce(broker.nonce), secret_answer("open sesame")};
    const auto secret = ask();
    ASSERT_TRUE(secret) << secret.error().what;
    EXPECT_TRUE(std::ranges::equal(secret->bytes(), text("open sesame")));
    EXPECT_EQ(shown, broker.bound);
    ASSERT_EQ(broker.asked.size(), 2U);
    EXPECT_EQ(broker.asked[1].name, "disk");
    EXPECT_TRUE(std::ranges::equal(broker.asked[1].key, own.key()));
    EXPECT_TRUE(std::ranges::equal(broker.asked[1].evidence, *evidence));
}

TEST_F(AskBroker, RefusalIsAnErrorAtEitherQuestion) {
    const std::vector<std::string> codes{"launch.digest", "vtpm.pcr"};
    broker.answers = {wire::encode_refusal(codes)};
    expect_refused("the broker refuses");
    broker.answers = {wire::encode_nonce(broker.nonce), wire::encode_refusal(codes)};
    expect_refused("the broker refuses");
}

TEST_F(AskBroker, AnswerToTheOtherQuestionIsNotTaken) {
    broker.answers = {secret_answer("too early")};
    expect_refused("no challenge");
    broker.answers = {wire::encode_nonce(broker.nonce), wire::encode_nonce(broker.nonce)};
    expect_refused("no secret");
    broker.answers = {wire::encode_nonce(broker.nonce), secret_answer("")};
    expect_refused("no secret");
}

TEST_F(AskBroker, AnnouncedLengthIsJudgedBeforeRoomIsMade) {
    broker.answers = {wire::encode_nonce(broker.nonce)};
    broker.announced = UINT32_MAX;
    expect_refused("too long");
}

TEST_F(AskBroker, WithoutEvidenceNothingIsShown) {
    broker.answers = {wire::encode_nonce(broker.nonce), secret_answer("never asked for")};
    evidence = input_error("no TPM here");
    expect_refused("no TPM here");
    EXPECT_EQ(broker.asked.size(), 1U);
}

}  // namespace
}  // namespace holdfast::agent
