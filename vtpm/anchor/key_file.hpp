// SPDX-License-Identifier: Apache-2.0
// What the anchor keeps beside the log: sealed keys, names of its TPM objects, the counters' authValues.
// Two slots that take turns, the newer one that authenticates counts. An old copy is no danger: its
// authValues do not open the counters any more.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "sys/fd.hpp"
#include "sys/secret.hpp"
#include "vtpm/anchor/leaf.hpp"

namespace holdfast::anchor {

using Bytes = std::vector<std::byte>;

inline constexpr std::size_t kUpdateKeyBytes = 64;  ///< an ECDSA P-256 point

struct KeyFile {
    std::uint64_t sequence = 0;
    std::uint32_t pcrs = 0;  ///< with the next two: SealPolicy
    Digest by_pcrs{};
    Bytes update_key;
    Bytes sealed_public;  ///< the master key, sealed in the TPM
    Bytes sealed_private;
    Bytes attestation_public;
    Bytes attestation_private;
    Bytes ek_name;
    Bytes o_name;
    Bytes s_name;
    std::uint64_t jump_bits = 255;
    std::uint64_t first_o = 0;  ///< for the count of flash writes
    std::uint64_t first_s = 0;
    std::uint64_t made_at = 0;  ///< seconds since 1970
    std::uint32_t starts = 0;
    Bytes auths;  ///< candidates for the counters' authValues, sealed under the master key
};

class KeyStore {
public:
    explicit KeyStore(UniqueFd file) noexcept : file_{std::move(file)} {}
    /// Slots that parse, newest first. Nothing in them is authentic before authenticate().
    Result<std::vector<KeyFile>> read();
    [[nodiscard]] static bool authenticate(const KeyFile& keys, const Digest& mac,
                                           std::span<const std::byte> key);
    /// Into the slot that is not the newest, durable when it returns.
    Result<void> write(const KeyFile& keys, std::span<const std::byte> key);
    [[nodiscard]] const Digest& mac_of(std::size_t index) const { return macs_[index]; }

private:
    UniqueFd file_;
    std::vector<Digest> macs_;
};

}  // namespace holdfast::anchor
