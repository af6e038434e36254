// SPDX-License-Identifier: Apache-2.0
// What a host may send to a guest on a stream of calls, cut into pieces, and what a host's own side may be
// sent by a guest: the two are one code. The first byte says how it is cut and whether the frames are sealed
// (under keys of zeros, so that a corpus can have frames that open).
#include "guest_agent/call/blob.hpp"
#include "guest_agent/call/services.hpp"
#include "guest_agent/call/session.hpp"
#include "tests/fuzz/input.hpp"

using namespace holdfast::agent;
using namespace holdfast::agent::call;

namespace {

/// True as long as the stream may go on.
bool feed(FrameReader& reader, Endpoint& endpoint, Bytes piece) {
    for (;;) {
        auto frame = reader.take(piece);
        if (!frame) return false;
        if (!*frame) return true;
        const auto incoming = endpoint.receive(std::move(**frame));
        holdfast::check(incoming.has_value() != endpoint.has_failed(), "a failure that was forgotten");
        if (!incoming) {
            holdfast::check(!endpoint.request(1, 1, {}), "a conversation that goes on after a failure");
            return false;
        }
        if (const auto* const request = std::get_if<Request>(&*incoming)) {
            holdfast::check(endpoint.reply(request->id, request->body.bytes()).has_value(), "cannot answer");
            holdfast::check(!endpoint.reply(request->id, {}), "answered twice");
        }
    }
}

void begin_session(Bytes bytes) {
    FrameReader reader;
    auto frame = reader.take(bytes);
    if (!frame || !*frame) return;
    auto handshake =
        Handshake::create({.side = Side::Called, .own_name = "b", .peer_name = "a", .context = {}}, Key{});
    holdfast::check(handshake.has_value(), "no handshake");
    std::ignore = std::move(*handshake).finish(**frame);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::fuzz::Input input{data, size};
    const auto how = input.take<std::uint8_t>();
    const Bytes all = input.take_bytes(size);
    std::ignore = decode_status(all);
    std::ignore = decode_blob_name(all);
    std::ignore = decode_named_blob(all);
    std::ignore = decode_evidence_ask(all);
    std::ignore = open_blob(Key{}, "a", 0, all);
    begin_session(all);

    FrameReader reader;
    Endpoint endpoint = (how & 1) != 0 ? *Endpoint::with_guest({}, {}) : Endpoint::with_host();
    std::ignore = endpoint.request(2, 2, {});
    const std::size_t piece = (how >> 1) == 0 ? all.size() : how >> 1;
    for (std::size_t at = 0; at < all.size(); at += piece) {
        if (!feed(reader, endpoint, all.subspan(at, std::min(piece, all.size() - at)))) break;
    }
    return 0;
}
