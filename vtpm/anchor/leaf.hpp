// SPDX-License-Identifier: Apache-2.0
// What the anchor knows of one vTPM: which state is the newest, and who may run it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::anchor {

using VmId = std::array<std::byte, 16>;
using InstanceId = std::array<std::byte, 16>;  ///< random; one life of a worker, or of the anchor
using Digest = std::array<std::byte, 32>;      ///< SHA-256; all zero: there is none

enum class Status : std::uint8_t {
    Stopped = 1,
    Running,    ///< by `instance` alone
    Exporting,  ///< handed out under a ticket; nobody may run it
    Moved,      ///< to another host
    Retired,
    Bundle,  ///< no vTPM: the highest security version of a bundle that this host has launched
};

struct Leaf {
    VmId vm{};
    std::uint64_t version = 0;  ///< of the state; 0: it never had any. Of a bundle: its security version
    /// Of the sealed permanent state. Zero: any authentic one from `version` on, because there was none
    /// yet, or because a power cut made the newest unprovable (then `gaps` says so).
    Digest permanent{};
    Digest volatile_state{};  ///< of the single-use partner of exactly this permanent state
    Status status = Status::Stopped;
    InstanceId instance{};
    std::uint32_t gaps = 0;        ///< power cuts after which an older checkpoint was adopted
    std::uint32_t generation = 0;  ///< re-anchorings; both are for verifiers to see
    Digest tenant{};               ///< SHA-256 of the tenant's public key; zero: nobody can re-anchor it
    friend bool operator==(const Leaf&, const Leaf&) = default;
};

/// The fixed encoding that is hashed, logged and shown to verifiers.
inline constexpr std::size_t kLeafBytes = 16 + 8 + 32 + 32 + 1 + 16 + 4 + 4 + 32;
using LeafBytes = std::array<std::byte, kLeafBytes>;
[[nodiscard]] LeafBytes encode(const Leaf& leaf) noexcept;
/// Peer error: a status that does not exist.
Result<Leaf> decode_leaf(const LeafBytes& bytes);

}  // namespace holdfast::anchor
