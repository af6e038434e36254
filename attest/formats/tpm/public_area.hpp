// SPDX-License-Identifier: Apache-2.0
// The public part of a TPM's key: TPMT_PUBLIC (TPM 2.0 Library 1.59, Part 2 §12.2.4) of asymmetric keys, as
// far as a verifier of signatures needs it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "attest/crypto/signature.hpp"

namespace holdfast::attest::tpm {

struct PublicArea {
    std::uint32_t attributes = 0;
    std::uint16_t scheme = 0;            ///< TPM_ALG_NULL: the key signs with any
    std::uint16_t scheme_hash = 0;       ///< TPM_ALG_NULL with a scheme of that value
    std::vector<std::byte> auth_policy;  ///< empty: none
    std::vector<std::byte> name;         ///< recomputed: what a TPM calls the key
    PublicKey key;
};

/// TPMT_PUBLIC, or TPM2B_PUBLIC as tpm2-tools write it. Exact: nothing may follow.
[[nodiscard]] Result<PublicArea> parse_public(std::span<const std::byte> bytes);

}  // namespace holdfast::attest::tpm
