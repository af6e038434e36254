// SPDX-License-Identifier: Apache-2.0
// TPM2_MakeCredential without a TPM (TPM 2.0 Library 1.59, Part 1 §24 and §C.6.3): a secret that only the TPM
// with this endorsement key gives away, and only if it holds the attestation key of this name as well.
#pragma once

#include <span>
#include <vector>

#include "attest/crypto/signature.hpp"

namespace holdfast::attest {

struct Credential {
    std::vector<std::byte> blob;    ///< inside of the TPM2B_ID_OBJECT
    std::vector<std::byte> secret;  ///< inside of the TPM2B_ENCRYPTED_SECRET
};

/// For endorsement keys of P-256 or RSA-2048 with SHA-256 and AES-128-CFB (TCG EK Credential Profile 2.5,
/// templates L-2 and L-1); an Input error for others. `credential`: at most 32 bytes.
Result<Credential> make_credential(const PublicKey& endorsement, std::span<const std::byte> name,
                                   std::span<const std::byte> credential);

/// From the operating system.
[[nodiscard]] std::vector<std::byte> random_secret(std::size_t size);

}  // namespace holdfast::attest
