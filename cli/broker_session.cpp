// SPDX-License-Identifier: Apache-2.0
#include "cli/broker_session.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "attest/channel/binding.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::cli {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;
namespace broker = attest::broker;
using agent::channel::TlsIdentity;
using agent::channel::TlsStream;

// A guest may have to fetch its host's part of the evidence in between.
constexpr auto kSessionLimit = 120s;
constexpr unsigned kMaxRequests = 16;
constexpr std::size_t kChunk = 64U << 10;

[[noreturn]] void unusable(const std::string& path) {
    std::array<char, 256> why{};
    ERR_error_string_n(ERR_get_error(), why.data(), why.size());
    ERR_clear_error();
    throw Failure{Code::Broker, fmt::format("'{}' cannot be used", printable(path)), why.data(),
                  "give a certificate and its private key, in PEM"};
}

/// A connection with the one deadline of its session. None of it fails in any other way than that it is over.
class Stream {
public:
    Stream(TlsStream tls, Clock::time_point deadline) noexcept : tls_{std::move(tls)}, deadline_{deadline} {}
    [[nodiscard]] bool read(std::span<std::byte> out) { return tls_.read(out, deadline_).has_value(); }
    [[nodiscard]] bool write(std::span<const std::byte> in) { return tls_.write(in, deadline_).has_value(); }
    void close() { tls_.close(deadline_); }
    [[nodiscard]] const TlsStream& tls() const noexcept { return tls_; }

private:
    TlsStream tls_;
    Clock::time_point deadline_;
};

/// None: the client is gone, too slow, or announces too much. Room is made as bytes come.
std::optional<Blob> read_message(Stream& stream) {
    Be<std::uint32_t> announced;
    if (!stream.read(std::as_writable_bytes(std::span{&announced, 1}))) return std::nullopt;
    const std::size_t size = announced.get();
    if (size > broker::kMaxRequest) return std::nullopt;
    Blob message;
    while (message.size() < size) {
        const std::size_t at = message.size();
        message.resize(at + std::min(kChunk, size - at));
        if (!stream.read(std::span{message}.subspan(at))) return std::nullopt;
    }
    return message;
}

bool write_message(Stream& stream, std::span<const std::byte> head, std::span<const std::byte> rest = {}) {
    const Be<std::uint32_t> size{static_cast<std::uint32_t>(head.size() + rest.size())};
    return stream.write(std::as_bytes(std::span{&size, 1})) && stream.write(head) && stream.write(rest);
}

/// What is between one handshake and its end.
class Session {
public:
    Session(Stream& stream, const std::string& peer, const TlsIdentity& own, BrokerJudge& judge)
        : stream_{stream}, peer_{peer}, own_{own}, judge_{judge} {}

    [[nodiscard]] bool answer(const broker::Request& request) {
        if (request.op == broker::Op::Challenge) return challenge();
        const auto decision = decide(request);
        if (decision.secret == nullptr)
            return write_message(stream_, broker::encode_refusal(decision.refused));
        const auto secret = decision.secret->bytes();
        return write_message(stream_, broker::encode_secret_head(secret.size()), secret);
    }

private:
    bool challenge() {
        Nonce nonce{};
        // SAFETY: bytes as unsigned char, for a C interface.
        if (RAND_bytes(reinterpret_cast<unsigned char*>(nonce.data()), static_cast<int>(nonce.size())) != 1)
            return false;
        nonce_ = nonce;
        challenged_ = Clock::now();
        return write_message(stream_, broker::encode_nonce(nonce));
    }
    /// A challenge is good for one answer, right or wrong, on the connection that it was made for.
    BrokerJudge::Decision decide(const broker::Request& request) {
        const auto refuse = [&](const char* code) { return judge_.refuse(peer_, request.name, code); };
        const auto nonce = std::exchange(nonce_, std::nullopt);
        if (!nonce) return refuse("broker.no-challenge");
        if (Clock::now() - challenged_ > judge_.config().challenge_age)
            return refuse("broker.stale-challenge");
        const auto proven = stream_.tls().peer_key();
        if (!proven.empty() && !std::ranges::equal(proven, request.key)) return refuse("broker.other-key");
        const auto exporter = stream_.tls().exporter();
        if (!exporter) return refuse("broker.failed");
        const auto binding = attest::channel_binding({.role = attest::ChannelRole::Client,
                                                      .nonce = *nonce,
                                                      .exporter = *exporter,
                                                      .own_key = request.key,
                                                      .peer_key = own_.key()});
        if (!binding) return refuse("broker.failed");
        return judge_.decide(peer_, request, *binding);
    }

    using Nonce = std::array<std::byte, broker::kNonceBytes>;
    Stream& stream_;
    const std::string& peer_;
    const TlsIdentity& own_;
    BrokerJudge& judge_;
    std::optional<Nonce> nonce_;
    Clock::time_point challenged_;
};

}  // namespace

TlsIdentity read_identity(const std::string& certificate, const std::string& key) {
    auto context = agent::channel::make_tls_context();
    if (!context) unusable("TLS 1.3");
    if (SSL_CTX_use_certificate_chain_file(context->get(), certificate.c_str()) != 1) unusable(certificate);
    if (SSL_CTX_use_PrivateKey_file(context->get(), key.c_str(), SSL_FILETYPE_PEM) != 1) unusable(key);
    auto identity = TlsIdentity::of(std::move(*context));
    if (!identity) unusable(certificate);
    return std::move(*identity);
}

void serve_guest(const UniqueFd& socket, const std::string& peer, const TlsIdentity& own,
                 BrokerJudge& judge) {
    const auto deadline = Clock::now() + kSessionLimit;
    const auto accept = [&]() -> Result<TlsStream> {
        return TlsStream::accept(HF_TRY(socket.duplicate()), own, deadline,
                                 agent::channel::ClientKey::Optional);
    };
    auto tls = accept();
    if (!tls) {
        (void)judge.refuse(peer, {}, "broker.no-tls");
        return;
    }
    Stream stream{std::move(*tls), deadline};
    Session session{stream, peer, own, judge};
    for (unsigned i = 0; i < kMaxRequests; ++i) {
        const auto message = read_message(stream);
        if (!message) break;
        const auto request = broker::decode_request(*message);
        if (!request) {
            const auto decision = judge.refuse(peer, {}, "broker.malformed");
            (void)write_message(stream, broker::encode_refusal(decision.refused));
            break;
        }
        if (!session.answer(*request)) break;
    }
    stream.close();
}

}  // namespace holdfast::cli
