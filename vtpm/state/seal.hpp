// SPDX-License-Identifier: Apache-2.0
// Sealed blobs: AES-256-GCM (NIST SP 800-38D) with everything that a blob must not be mistaken about as
// associated data. The key comes from outside (docs/vtpm.md, "Keys").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sys/result.hpp"
#include "sys/secret.hpp"
#include "vtpm/state/blob.hpp"
#include "vtpm/state/identity.hpp"

namespace holdfast::vtpm {

enum class SealedType : std::uint8_t {
    Permanent = 1,
    Volatile = 2,  ///< of a migration; `version` is that of the permanent state it belongs to
};

inline constexpr std::size_t kStateKeyBytes = 32;
inline constexpr std::size_t kMaxSealed = 224U << 10;

/// The key of one vTPM's blobs, from the host's (HKDF-SHA256, RFC 5869).
Result<SecretBytes> derive_state_key(const SecretBytes& host_key, const Identity& identity);

/// SHA-256 of a sealed blob: what a host's anchor calls a state by.
Result<std::array<std::byte, 32>> digest_of(std::span<const std::byte> sealed);

class Sealer {
public:
    Sealer(SecretBytes key, Identity identity) noexcept
        : key_{std::move(key)}, identity_{std::move(identity)} {}

    /// For the same vTPM, with a key that takes both this one and the anchor's to compute. It goes into
    /// `room`, of kStateKeyBytes, because a jail has no way to make locked memory.
    Result<Sealer> anchored(std::span<const std::byte> anchor_key, SecretBytes room) const;

    Result<std::vector<std::byte>> seal(SealedType type, std::uint64_t version,
                                        std::span<const std::byte> plain) const;
    /// Anything that was not sealed for this vTPM and type, with this key, is an Input error.
    struct Opened {
        std::uint64_t version = 0;
        StateBlob plain;
    };
    [[nodiscard]] Result<Opened> open(SealedType type, std::span<const std::byte> sealed) const;

private:
    [[nodiscard]] std::vector<std::byte> associated(std::span<const std::byte> head) const;
    SecretBytes key_;
    Identity identity_;
};

}  // namespace holdfast::vtpm
