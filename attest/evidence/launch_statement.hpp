// SPDX-License-Identifier: Apache-2.0
// What the host says of a VM that it launched: an unprotected set of claims (EAT, RFC 9711; UCCS, RFC 9781).
// The host's quote names its hash, and so vouches for it (evidence.hpp).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "attest/formats/tpm/appraise.hpp"
#include "sys/result.hpp"

namespace holdfast::attest {

struct BundleClaim {
    std::vector<std::byte> key;  ///< SHA-256 of the signer's SubjectPublicKeyInfo
    std::string name;
    std::vector<std::byte> digest;  ///< SHA-384 of the manifest
    std::uint64_t security_version = 0;
};

struct LaunchStatement {
    std::uint64_t at = 0;          ///< iat: seconds since 1970, by the host's clock
    std::vector<std::byte> nonce;  ///< eat_nonce
    std::string name;
    std::string tier;
    std::vector<std::byte> digest;  ///< launch digest; empty: the tier has none
    std::string shape;              ///< docs/launch_digest.md
    std::uint64_t memory = 0;       ///< bytes
    std::uint64_t cpus = 0;
    std::optional<std::uint64_t>
        window;                 ///< the most that is ever clear, in bytes; none: no bound is promised
    std::uint64_t started = 0;  ///< seconds since 1970
    std::uint64_t reboots = 0;
    std::vector<std::byte>
        vtpm;  ///< the id of the host's vTPM that the VM has; empty: none, or somebody else's
    std::vector<std::byte>
        ca;                   ///< SHA-256 of the certificate of who certified that vTPM's keys; empty: nobody
    tpm::ReferencePcrs pcrs;  ///< of its vTPM, at the guest's first instruction
    std::optional<BundleClaim> bundle;
};

/// RFC 9711 §4.1.
inline constexpr std::size_t kMinNonce = 8;
inline constexpr std::size_t kMaxNonce = 64;

[[nodiscard]] std::vector<std::byte> encode(const LaunchStatement& statement);
Result<LaunchStatement> decode_launch_statement(std::span<const std::byte> bytes);

}  // namespace holdfast::attest
