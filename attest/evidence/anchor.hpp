// SPDX-License-Identifier: Apache-2.0
// The anchor's statement that a vTPM's state is the newest (docs/anchor.md, "What a verifier gets"), through
// the four stages: counters certified by the host's attestation key, a ledger, a leaf in it.
#pragma once

#include <optional>

#include "attest/verify/nv_certify.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest {

struct AnchorLeaf {
    std::vector<std::byte> vm;
    std::uint64_t version = 0;
    std::uint8_t status = 0;
    std::uint32_t gaps = 0;
    std::uint32_t generation = 0;
};
struct AnchorState {
    AnchorLeaf leaf;
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    bool software_tpm = false;
};

struct AnchorPolicy {
    bool required = false;
    bool allow_gap = false;         ///< a power cut after which an older checkpoint was adopted
    bool allow_reanchored = false;  ///< its tenant took an older state in place of the newest
    bool allow_software_tpm = false;
};

/// Borrows its bytes.
struct AnchorEvidence {
    Bytes bundle;
    Bytes key;  ///< the attestation key of the host's quote
    AkTrust trust;
    Digest256 question{};       ///< that the anchor was asked
    std::vector<std::byte> vm;  ///< that the launch statement names; empty: none
    tpm::CounterPolicy counter;
    std::optional<tpm::LastSeen> last_seen;
};

/// What it says, if it is bound.
[[nodiscard]] std::optional<AnchorState> verify_anchor(const AnchorEvidence& evidence,
                                                       const AnchorPolicy& policy,
                                                       const tpm::QuotePolicy& quote, Findings& findings);

}  // namespace holdfast::attest
