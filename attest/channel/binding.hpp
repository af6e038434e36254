// SPDX-License-Identifier: Apache-2.0
// What ties a quote to one TLS connection: the qualifying data that a vTPM signs for a peer. It is the same
// for the agent's request to `holdfast broker` and for the channel between two guests, and nothing else in
// the tree computes it. docs/attestation.md says why each part is in it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest {

/// Who makes the evidence, by its side of the TLS connection: so that what one side shows cannot be sent
/// back to it as the other's.
enum class ChannelRole : std::uint8_t { Client = 1, Server = 2 };

/// For SSL_export_keying_material() (RFC 8446 §7.5, RFC 9266), without a context.
inline constexpr std::string_view kExporterLabel = "EXPORTER-holdfast-channel-1";
inline constexpr std::size_t kExporterBytes = 32;
inline constexpr std::size_t kMinChallenge = 16;  ///< bytes of the peer's nonce
inline constexpr std::size_t kMaxChallenge = 64;

/// Borrows its bytes.
struct ChannelBinding {
    ChannelRole role = ChannelRole::Client;
    std::span<const std::byte> nonce;         ///< the peer's challenge, for this connection
    std::span<const std::byte> exporter;      ///< kExporterBytes
    std::span<const std::byte> own_key;       ///< SubjectPublicKeyInfo (DER) of who makes the evidence
    std::span<const std::byte> peer_key;      ///< the same of the peer's TLS certificate
    std::span<const std::byte> context = {};  ///< of the application: policy, group, epoch; may be empty
};

/// SHA-256 of label, role, H(nonce), exporter, H(own key), H(peer key), H(context): each part has a fixed
/// length, so that no two bindings share an input. A part of a size that it cannot have is an Input error: an
/// exporter that is missing must never be hashed as nothing.
[[nodiscard]] Result<Digest256> channel_binding(const ChannelBinding& binding);

}  // namespace holdfast::attest
