// SPDX-License-Identifier: Apache-2.0
// What can be called: numbers of services and methods, and the bodies of their messages (sys/wire/codec.hpp).
// Every body is judged whole: a field that is too long, missing or left over is a Peer error.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent::call {

/// Ports of vsock.
inline constexpr std::uint32_t kGuestPort = 1910;  ///< the agent listens: calls in
inline constexpr std::uint32_t kHostPort = 1911;   ///< `holdfast agent serve` listens at PATH_1911: calls out
inline constexpr std::uint32_t kBrokerPort = 1912;  ///< and at PATH_1912: bytes to and from a broker
/// At PATH_1913 too: bytes to and from the same port of another guest, where an agent's channel listens.
inline constexpr std::uint32_t kChannelPort = 1913;

namespace guest_service {  ///< of the agent, for its host: hints and public facts only
inline constexpr std::uint16_t kNumber = 1;
inline constexpr std::uint16_t kStatus = 1;    ///< empty -> Status
inline constexpr std::uint16_t kEcho = 2;      ///< bytes -> the same bytes
inline constexpr std::uint16_t kPowerOff = 3;  ///< empty -> empty; then the guest ends in order
}  // namespace guest_service

namespace host_service {  ///< of the host, for a guest that believes nothing of it
inline constexpr std::uint16_t kNumber = 2;
inline constexpr std::uint16_t kEcho = 1;
inline constexpr std::uint16_t kGetBlob = 2;   ///< name -> bytes
inline constexpr std::uint16_t kPutBlob = 3;   ///< name, bytes -> empty
inline constexpr std::uint16_t kEvidence = 4;  ///< EvidenceAsk -> the file of `holdfast attest`
inline constexpr std::uint16_t kDropBlob = 5;  ///< name -> empty, whether there was one or not
}  // namespace host_service

namespace refusal {
inline constexpr std::uint16_t kUnknownMethod = 1;
inline constexpr std::uint16_t kMalformed = 2;
inline constexpr std::uint16_t kNotFound = 3;
inline constexpr std::uint16_t kNoRoom = 4;
inline constexpr std::uint16_t kNotAllowed = 5;
inline constexpr std::uint16_t kFailed = 6;
}  // namespace refusal

struct Status {
    std::string version;  ///< of the agent
    std::string state;    ///< "starting", "running", "ended"
    std::int32_t program_status = -1;
    std::uint64_t uptime_ms = 0;  ///< by the guest's clock, which the host makes
    bool has_tpm = false;
};
[[nodiscard]] std::vector<std::byte> encode(const Status& status);
[[nodiscard]] Result<Status> decode_status(Bytes body);

struct NamedBlob {
    std::string name;
    std::vector<std::byte> bytes;
};
[[nodiscard]] std::vector<std::byte> encode_blob_name(std::string_view name);
[[nodiscard]] Result<std::string> decode_blob_name(Bytes body);
[[nodiscard]] std::vector<std::byte> encode(const NamedBlob& blob);
[[nodiscard]] Result<NamedBlob> decode_named_blob(Bytes body);

/// The guest's own quote, to which its host adds the rest (docs/attestation.md).
struct EvidenceAsk {
    Digest256 nonce{};             ///< the verifier's, as the quote has it
    std::vector<std::byte> quote;  ///< as `holdfast attest --vtpm-quote` takes it
};
[[nodiscard]] std::vector<std::byte> encode(const EvidenceAsk& ask);
[[nodiscard]] Result<EvidenceAsk> decode_evidence_ask(Bytes body);

}  // namespace holdfast::agent::call
