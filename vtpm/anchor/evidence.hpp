// SPDX-License-Identifier: Apache-2.0
// What a verifier gets: that a leaf was the newest after its nonce was made. The nonces of one batch are a
// Merkle tree; its root, the ledger's root and both counters are a statement; the statement's hash is
// the qualifying data of NV_Certify of both counters. docs/anchor.md has the layout, byte by byte.
#pragma once

#include <span>
#include <vector>

#include "vtpm/anchor/counters.hpp"
#include "vtpm/anchor/ledger.hpp"

namespace holdfast::anchor {

struct Statement {
    Digest root{};
    std::uint64_t o = 0;
    std::uint64_t s = 0;
    std::uint32_t reset_count = 0;
    InstanceId anchor{};
    bool software_tpm = false;
    Digest nonces{};  ///< root of the batch's nonces
};
[[nodiscard]] std::vector<std::byte> encode(const Statement& statement);

/// A Merkle tree of nonces: leaf SHA-256(0x00 | nonce), node SHA-256(0x01 | left | right), filled up with
/// zero digests to a power of two.
class NonceTree {
public:
    /// At least one.
    explicit NonceTree(std::span<const Digest> nonces);
    [[nodiscard]] Digest root() const noexcept { return nodes_[1]; }
    [[nodiscard]] std::vector<Digest> path(std::size_t index) const;

private:
    std::vector<Digest> nodes_;
};

struct EvidenceParts {
    const Statement& statement;
    const Certificate& certificate;
    std::span<const std::byte> attestation_public;  ///< TPM2B_PUBLIC
    const Leaf& leaf;
    const Ledger::Proof& proof;
    std::uint32_t nonce_index = 0;
    std::span<const Digest> nonce_path;
};
[[nodiscard]] std::vector<std::byte> encode(const EvidenceParts& parts);

}  // namespace holdfast::anchor
