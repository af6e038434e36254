// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/broker.hpp"

#include <algorithm>
#include <string>

#include "attest/broker/message.hpp"
#include "sys/log.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent {
namespace {

namespace wire = attest::broker;

/// A secret of the largest size, or as many reasons as there can be, with what stands around them.
constexpr std::size_t kMaxAnswer = wire::kMaxSecret + 1024;

Result<SecretBuffer> ask(channel::TlsStream& broker, Bytes message, channel::Deadline deadline) {
    Be<std::uint32_t> size{static_cast<std::uint32_t>(message.size())};
    HF_TRY(broker.write(std::as_bytes(std::span{&size, 1}), deadline));
    HF_TRY(broker.write(message, deadline));
    HF_TRY(broker.read(std::as_writable_bytes(std::span{&size, 1}), deadline));
    if (size.get() > kMaxAnswer) return peer_fault("an answer of the broker that is too long");
    SecretBuffer answer{size.get()};
    HF_TRY(broker.read(answer.bytes(), deadline));
    return answer;
}

Error refused(const wire::Answer& answer) {
    std::string codes;
    for (const std::string_view code : answer.refused) codes.append(codes.empty() ? "" : " ").append(code);
    log::warn("broker_refuses", {{"codes", codes}});
    return input_error("the broker refuses: see its codes above, and its log");
}

}  // namespace

Result<SecretBuffer> ask_broker(channel::TlsStream& broker, const channel::TlsIdentity& own,
                                std::string_view secret, const MakeEvidence& make,
                                channel::Deadline deadline) {
    const SecretBuffer challenge = HF_TRY(ask(broker, wire::encode(wire::Request{}), deadline));
    const auto challenged = HF_TRY(wire::decode_answer(challenge.bytes()));
    if (!challenged.refused.empty()) return refused(challenged);
    if (challenged.nonce.empty()) return peer_fault("the broker gives no challenge");

    const auto exporter = HF_TRY(broker.exporter());
    const Digest256 binding = HF_TRY(attest::channel_binding({.role = attest::ChannelRole::Client,
                                                              .nonce = challenged.nonce,
                                                              .exporter = exporter,
                                                              .own_key = own.key(),
                                                              .peer_key = broker.peer_key()}));
    const auto evidence = HF_TRY(make(binding));
    const SecretBuffer release = HF_TRY(
        ask(broker,
            wire::encode({.op = wire::Op::Release, .name = secret, .key = own.key(), .evidence = evidence}),
            deadline));
    const auto released = HF_TRY(wire::decode_answer(release.bytes()));
    if (!released.refused.empty()) return refused(released);
    if (released.secret.empty()) return peer_fault("the broker gives no secret");
    SecretBuffer out{released.secret.size()};
    std::ranges::copy(released.secret, out.bytes().begin());
    return out;
}

}  // namespace holdfast::agent
