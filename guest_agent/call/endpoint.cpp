// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/endpoint.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "sys/wire/endian.hpp"

namespace holdfast::agent::call {
namespace {

Nonce nonce_of(const Nonce& start, std::uint64_t sequence) noexcept {
    Nonce nonce = start;
    const Be<std::uint64_t> number{sequence};
    const auto bytes = std::as_bytes(std::span{&number, 1});
    for (std::size_t i = 0; i < bytes.size(); ++i) nonce[nonce.size() - bytes.size() + i] ^= bytes[i];
    return nonce;
}

Digest256 digest_of(const HeaderBytes& head, Bytes body) {
    Sha256 hash;
    hash.update(head);
    hash.update(body);
    return hash.finish();
}

/// What is authenticated beside the body: the header, and of an answer what it answers. So an answer to
/// another request does not open, whoever sealed it.
std::vector<std::byte> associated(const HeaderBytes& head, const Digest256* question) {
    std::vector<std::byte> bytes{head.begin(), head.end()};
    if (question) bytes.insert(bytes.end(), question->begin(), question->end());
    return bytes;
}

}  // namespace

Result<Endpoint> Endpoint::with_guest(const DirectionKeys& send, const DirectionKeys& receive) {
    Endpoint endpoint;
    endpoint.sealing_ = Guard{.aead = HF_TRY(Aead::create(send.key)), .start = send.start};
    endpoint.opening_ = Guard{.aead = HF_TRY(Aead::create(receive.key)), .start = receive.start};
    return endpoint;
}

Result<std::vector<std::byte>> Endpoint::frame(Header header, Bytes body, const Digest256* question) {
    const std::size_t overhead = sealing_ ? kTagBytes : 0;
    if (body.size() > kMaxBody - overhead) return input_error("a call's body is too long");
    if (sent_ >= kMaxFrames) return input_error("a session of calls has sent what its keys are good for");
    header.length = static_cast<std::uint32_t>(body.size() + overhead);
    header.sequence = sent_;
    const HeaderBytes head = encode(header);
    std::vector<std::byte> bytes(kHeaderBytes + header.length);
    std::ranges::copy(head, bytes.begin());
    const auto out = std::span{bytes}.subspan(kHeaderBytes);
    if (sealing_) {
        HF_TRY(sealing_->aead.seal(nonce_of(sealing_->start, sent_), associated(head, question), body, out));
    } else {
        std::ranges::copy(body, out.begin());
    }
    ++sent_;
    return bytes;
}

Result<Outgoing> Endpoint::request(std::uint16_t service, std::uint16_t method, Bytes body) {
    if (failed_) return *failed_;
    if (asked_.size() >= kMaxPending) return input_error("too many calls wait for their replies");
    const std::uint64_t id = next_request_;
    auto bytes = HF_TRY(
        frame({.kind = Kind::Request, .service = service, .method = method, .request = id}, body, nullptr));
    ++next_request_;
    HeaderBytes head{};
    std::ranges::copy(Bytes{bytes}.first(kHeaderBytes), head.begin());
    asked_[id] = {
        .service = service, .method = method, .digest = sealing_ ? digest_of(head, body) : Digest256{}};
    return Outgoing{.id = id, .bytes = std::move(bytes)};
}

Result<std::vector<std::byte>> Endpoint::answer(std::uint64_t id, Kind kind, Bytes body) {
    if (failed_) return *failed_;
    const auto question = to_answer_.find(id);
    if (question == to_answer_.end()) return input_error("no such request waits for an answer");
    auto bytes = HF_TRY(frame(
        {.kind = kind, .service = question->second.service, .method = question->second.method, .request = id},
        body, &question->second.digest));
    to_answer_.erase(question);
    return bytes;
}

Result<std::vector<std::byte>> Endpoint::reply(std::uint64_t id, Bytes body) {
    return answer(id, Kind::Reply, body);
}

Result<std::vector<std::byte>> Endpoint::refuse(std::uint64_t id, std::uint16_t code) {
    const Le<std::uint16_t> body{code};
    return answer(id, Kind::Refusal, std::as_bytes(std::span{&body, 1}));
}

Result<SecretBuffer> Endpoint::opened(Frame& frame, const Digest256* question) {
    if (!opening_) return SecretBuffer{std::move(frame.body)};
    if (frame.body.size() < kTagBytes) return peer_fault("a sealed frame is too short");
    SecretBuffer body{frame.body.size() - kTagBytes};
    HF_TRY(opening_->aead.open(nonce_of(opening_->start, received_), associated(frame.head, question),
                               frame.body, body.bytes()));
    return body;
}

Result<Incoming> Endpoint::judge_request(Frame& frame) {
    if (frame.header.request != next_peer_request_) return peer_fault("a request out of its turn");
    if (to_answer_.size() >= kMaxPending) return peer_fault("too many requests wait for an answer");
    SecretBuffer body = HF_TRY(opened(frame, nullptr));
    ++next_peer_request_;
    to_answer_[frame.header.request] = {
        .service = frame.header.service,
        .method = frame.header.method,
        .digest = opening_ ? digest_of(frame.head, body.bytes()) : Digest256{}};
    return Incoming{Request{.id = frame.header.request,
                            .service = frame.header.service,
                            .method = frame.header.method,
                            .body = std::move(body)}};
}

Result<Incoming> Endpoint::judge_answer(Frame& frame) {
    const auto question = asked_.find(frame.header.request);
    if (question == asked_.end()) return peer_fault("an answer to what was not asked");
    if (question->second.service != frame.header.service || question->second.method != frame.header.method) {
        return peer_fault("an answer of another method than was called");
    }
    SecretBuffer body = HF_TRY(opened(frame, &question->second.digest));
    const std::uint64_t id = frame.header.request;
    if (frame.header.kind == Kind::Refusal) {
        Le<std::uint16_t> code{0};
        if (body.bytes().size() != sizeof code) return peer_fault("a refusal of another size");
        std::memcpy(&code, body.bytes().data(), sizeof code);
        asked_.erase(question);
        return Incoming{Refusal{.id = id, .code = code.get()}};
    }
    asked_.erase(question);
    return Incoming{Reply{
        .id = id, .service = frame.header.service, .method = frame.header.method, .body = std::move(body)}};
}

Result<Incoming> Endpoint::judge(Frame& frame) {
    if (frame.header.sequence != received_) return peer_fault("a frame was dropped, repeated or reordered");
    if (received_ >= kMaxFrames) return peer_fault("a session of calls that should have ended");
    switch (frame.header.kind) {
        case Kind::Request: return judge_request(frame);
        case Kind::Reply:
        case Kind::Refusal: return judge_answer(frame);
        case Kind::Hello: return peer_fault("a session begins inside another");
    }
    return peer_fault("frame of an unknown kind");
}

Result<Incoming> Endpoint::receive(Frame frame) {
    if (failed_) return *failed_;
    auto incoming = judge(frame);
    if (!incoming) failed_ = incoming.error();
    else ++received_;
    return incoming;
}

}  // namespace holdfast::agent::call
