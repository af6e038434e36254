// SPDX-License-Identifier: Apache-2.0
// Two guests with a session of calls between them, and the bytes that a carrier sees.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "guest_agent/call/session.hpp"

namespace holdfast::agent::call {

/// The one frame in `bytes`, or none.
inline std::optional<Frame> frame_of(Bytes bytes) {
    FrameReader reader;
    auto frame = reader.take(bytes);
    if (!frame || !bytes.empty()) return std::nullopt;
    return std::move(*frame);
}

inline SessionSettings settings_of(Side side) {
    const bool is_caller = side == Side::Caller;
    return {.side = side,
            .own_name = is_caller ? "ann" : "bob",
            .peer_name = is_caller ? "bob" : "ann",
            .context = {std::byte{7}}};
}

struct Ends {
    Endpoint caller;
    Endpoint called;
};

inline Result<Ends> meet(const Key& shared) {
    Handshake caller = HF_TRY(Handshake::create(settings_of(Side::Caller), shared));
    Handshake called = HF_TRY(Handshake::create(settings_of(Side::Called), shared));
    const Frame from_caller = *frame_of(caller.hello());
    const Frame from_called = *frame_of(called.hello());
    return Ends{.caller = HF_TRY(std::move(caller).finish(from_called)),
                .called = HF_TRY(std::move(called).finish(from_caller))};
}

}  // namespace holdfast::agent::call
