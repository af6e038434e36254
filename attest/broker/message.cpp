// SPDX-License-Identifier: Apache-2.0
#include "attest/broker/message.hpp"

#include "attest/evidence/cbor.hpp"

namespace holdfast::attest::broker {
namespace {

constexpr std::uint64_t kVersion = 1;
constexpr std::string_view kChallenge = "challenge";
constexpr std::string_view kRelease = "release";
constexpr std::size_t kMaxKey = 1024;
constexpr std::size_t kMaxCodes = 256;

Result<void> get_field(cbor::Reader& reader, std::string_view key, Request& request) {
    if (key == "name") request.name = HF_TRY(reader.get_text());
    else if (key == "binding") request.key = HF_TRY(reader.get_bytes());
    else if (key == "evidence") request.evidence = HF_TRY(reader.get_bytes());
    else return peer_fault("unknown field of a request");
    return {};
}

}  // namespace

std::vector<std::byte> encode(const Request& request) {
    cbor::Writer writer;
    const bool release = request.op == Op::Release;
    writer.put_map(release ? 5 : 2);
    writer.put("v");
    writer.put(kVersion);
    writer.put("op");
    writer.put(release ? kRelease : kChallenge);
    if (!release) return writer.take();
    writer.put("name");
    writer.put(request.name);
    writer.put("binding");
    writer.put(request.key);
    writer.put("evidence");
    writer.put(request.evidence);
    return writer.take();
}

Result<Request> decode_request(Bytes message) {
    if (message.size() > kMaxRequest) return peer_fault("request is too long");
    cbor::Reader reader{message};
    cbor::Keys keys;
    const std::size_t fields = HF_TRY(reader.get_map());
    if (fields != 2 && fields != 5) return peer_fault("request with other fields");
    if (HF_TRY(keys.next_text(reader)) != "v" || HF_TRY(reader.get_number()) != kVersion)
        return peer_fault("request of another version");
    if (HF_TRY(keys.next_text(reader)) != "op") return peer_fault("request without an operation");
    Request request;
    const auto op = HF_TRY(reader.get_text());
    if (op == kRelease) request.op = Op::Release;
    else if (op != kChallenge) return peer_fault("unknown operation");
    if ((request.op == Op::Release) != (fields == 5)) return peer_fault("request with other fields");
    for (std::size_t i = 2; i < fields; ++i) {
        const auto key = HF_TRY(keys.next_text(reader));
        HF_TRY(get_field(reader, key, request));
    }
    HF_TRY(reader.expect_end());
    if (request.op == Op::Challenge) return request;
    // Three fields of three names that ascend: each is there.
    if (request.name.empty() || request.name.size() > kMaxName) return peer_fault("name of another size");
    if (request.key.empty() || request.key.size() > kMaxKey) return peer_fault("key of another size");
    return request;
}

std::vector<std::byte> encode_nonce(Bytes nonce) {
    cbor::Writer writer;
    writer.put_map(1);
    writer.put("nonce");
    writer.put(nonce);
    return writer.take();
}

std::vector<std::byte> encode_refusal(std::span<const std::string> codes) {
    cbor::Writer writer;
    writer.put_map(1);
    writer.put("refused");
    writer.put_array(codes.size());
    for (const std::string& code : codes) writer.put(std::string_view{code});
    return writer.take();
}

std::vector<std::byte> encode_secret_head(std::size_t size) {
    // The head of a byte string is what stands before its bytes, whatever they are.
    cbor::Writer writer;
    writer.put_map(1);
    writer.put("secret");
    writer.put_bytes_head(size);
    return writer.take();
}

Result<Answer> decode_answer(Bytes message) {
    cbor::Reader reader{message};
    cbor::Keys keys;
    if (HF_TRY(reader.get_map()) != 1) return peer_fault("answer with other fields");
    Answer answer;
    const auto key = HF_TRY(keys.next_text(reader));
    if (key == "nonce") {
        answer.nonce = HF_TRY(reader.get_bytes());
        if (answer.nonce.size() != kNonceBytes) return peer_fault("nonce of another size");
    } else if (key == "secret") {
        answer.secret = HF_TRY(reader.get_bytes());
    } else if (key == "refused") {
        const std::size_t codes = HF_TRY(reader.get_array());
        if (codes == 0 || codes > kMaxCodes) return peer_fault("refusal with no reason, or too many");
        for (std::size_t i = 0; i < codes; ++i) answer.refused.push_back(HF_TRY(reader.get_text()));
    } else {
        return peer_fault("unknown answer");
    }
    HF_TRY(reader.expect_end());
    return answer;
}

}  // namespace holdfast::attest::broker
