// SPDX-License-Identifier: Apache-2.0
// How two guests that share a secret (of their group, or of an attested channel) begin a session of calls
// through a hostile carrier: one hello each way, with a nonce and an ephemeral key of X25519; then all frames
// are sealed.
//
// Both hellos, as they came, go into the keys, and so do the shared secret and the agreed one: a hello that
// was changed, made up, or is from an earlier session gives keys under which nothing opens. Who learns the
// shared secret later does not open what was recorded. All who have the shared secret can play each of its
// holders.
#pragma once

#include <string>

#include "guest_agent/call/endpoint.hpp"
#include "guest_agent/crypto/keys.hpp"

namespace holdfast::agent::call {

enum class Side : std::uint8_t {
    Caller = 1,
    Called = 2
};  ///< of the connection; both may then make requests

inline constexpr std::size_t kMaxName = 64;      ///< bytes
inline constexpr std::size_t kMaxContext = 128;  ///< bytes

struct SessionSettings {
    Side side = Side::Caller;
    std::string own_name;   ///< of guests, as both sides know them
    std::string peer_name;  ///< who it must be: another guest's hello is refused
    /// What else both must agree on: group and epoch.
    std::vector<std::byte> context;
};

/// One thread; used once.
class Handshake {
public:
    static Result<Handshake> create(SessionSettings settings, const Key& shared);
    /// The frame to send.
    [[nodiscard]] Bytes hello() const noexcept { return hello_; }
    /// Judges the peer's first frame. What it says is proven by the first sealed frame that opens.
    Result<Endpoint> finish(const Frame& peer_hello) &&;

private:
    Handshake(SessionSettings settings, Key shared, AgreementKey ephemeral) noexcept
        : settings_{std::move(settings)}, shared_{std::move(shared)}, ephemeral_{std::move(ephemeral)} {}
    SessionSettings settings_;
    Key shared_;
    AgreementKey ephemeral_;
    std::vector<std::byte> hello_;
};

}  // namespace holdfast::agent::call
