// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/call/session.hpp"

#include <algorithm>

#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::agent::call {
namespace {

constexpr std::string_view kLabel = "holdfast call 1";
constexpr std::size_t kHelloNonce = 32;

struct Hello {
    std::uint16_t oldest = kVersion;
    std::uint16_t newest = kVersion;
    std::uint8_t side = 0;
    std::string from;
    std::string to;
    std::vector<std::byte> context;
    PublicBytes key{};
};

Result<Hello> decode_hello(Bytes body) {
    WireReader reader{body};
    Hello hello;
    hello.oldest = HF_TRY(reader.get<std::uint16_t>());
    hello.newest = HF_TRY(reader.get<std::uint16_t>());
    hello.side = HF_TRY(reader.get<std::uint8_t>());
    if (HF_TRY(reader.get_bytes()).size() != kHelloNonce) return peer_fault("nonce of another size");
    const auto key = HF_TRY(reader.get_bytes());
    if (key.size() != hello.key.size()) return peer_fault("public key of another size");
    std::ranges::copy(key, hello.key.begin());
    hello.from = HF_TRY(reader.get_string());
    hello.to = HF_TRY(reader.get_string());
    const auto context = HF_TRY(reader.get_bytes());
    if (hello.from.size() > kMaxName || hello.to.size() > kMaxName || context.size() > kMaxContext) {
        return peer_fault("a hello of too many words");
    }
    hello.context.assign(context.begin(), context.end());
    HF_TRY(reader.expect_end());
    return hello;
}

DirectionKeys direction(const Key& secret, std::string_view which) {
    DirectionKeys keys;
    keys.key = hkdf_expand_key(secret, {text(kLabel), text(" key of "), text(which)});
    hkdf_expand(secret, {text(kLabel), text(" nonce of "), text(which)}, keys.start);
    return keys;
}

std::vector<std::byte> whole(const Frame& frame) {
    std::vector<std::byte> bytes{frame.head.begin(), frame.head.end()};
    bytes.insert(bytes.end(), frame.body.begin(), frame.body.end());
    return bytes;
}

}  // namespace

Result<Handshake> Handshake::create(SessionSettings settings, const Key& shared) {
    if (settings.own_name.empty() || settings.own_name.size() > kMaxName || settings.peer_name.empty() ||
        settings.peer_name.size() > kMaxName || settings.context.size() > kMaxContext) {
        return input_error("names or context of a session are empty or too long");
    }
    Handshake made{std::move(settings), shared.copy(), HF_TRY(make_agreement_key())};
    std::array<std::byte, kHelloNonce> nonce{};
    fill_random(nonce);
    WireWriter body;
    body.put(kVersion);  // the oldest that we speak
    body.put(kVersion);  // the newest
    body.put(static_cast<std::uint8_t>(made.settings_.side));
    body.put_bytes(nonce);
    body.put_bytes(made.ephemeral_.shared);
    body.put_string(made.settings_.own_name);
    body.put_string(made.settings_.peer_name);
    body.put_bytes(made.settings_.context);
    const HeaderBytes head =
        encode({.kind = Kind::Hello, .length = static_cast<std::uint32_t>(body.bytes().size())});
    made.hello_.assign(head.begin(), head.end());
    made.hello_.insert(made.hello_.end(), body.bytes().begin(), body.bytes().end());
    return made;
}

Result<Endpoint> Handshake::finish(const Frame& frame) && {
    if (frame.header.kind != Kind::Hello) return peer_fault("a session that does not begin with a hello");
    const Hello hello = HF_TRY(decode_hello(frame.body));
    if (hello.oldest > kVersion || hello.newest < kVersion) return peer_fault("no version that both speak");
    const Side theirs = settings_.side == Side::Caller ? Side::Called : Side::Caller;
    if (hello.side != static_cast<std::uint8_t>(theirs)) return peer_fault("our own hello came back");
    if (hello.from != settings_.peer_name || hello.to != settings_.own_name) {
        return peer_fault("another guest answers");
    }
    if (hello.context != settings_.context) return peer_fault("a session of another group or epoch");

    const Key agreed = HF_TRY(agree(ephemeral_.secret, hello.key));
    const std::vector<std::byte> theirs_whole = whole(frame);
    const bool is_caller = settings_.side == Side::Caller;
    const Digest256 transcript = hash_parts({text(kLabel), is_caller ? Bytes{hello_} : Bytes{theirs_whole},
                                             is_caller ? Bytes{theirs_whole} : Bytes{hello_}});
    const Key secret = hkdf_extract(transcript, {shared_.bytes(), agreed.bytes()});
    const DirectionKeys from_caller = direction(secret, "caller");
    const DirectionKeys from_called = direction(secret, "called");
    return is_caller ? Endpoint::with_guest(from_caller, from_called)
                     : Endpoint::with_guest(from_called, from_caller);
}

}  // namespace holdfast::agent::call
