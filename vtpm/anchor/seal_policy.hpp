// SPDX-License-Identifier: Apache-2.0
// What the anchor's master key is sealed under: PCRs as they were (TPM2_PolicyPCR), or, where the operator
// has an update key, any other PCRs that this key has signed (TPM2_PolicyAuthorize; TPM 2.0 Part 3, 23.16).
#pragma once

#include <tss2/tss2_tpm2_types.h>

#include "sys/result.hpp"
#include "vtpm/anchor/key_file.hpp"

namespace holdfast::anchor {

struct SealPolicy {
    std::uint32_t pcrs = 0;  ///< bit i: PCR i of the SHA-256 bank
    Digest by_pcrs{};        ///< the policy digest of PolicyPCR over them
    Bytes update_key;        ///< an ECDSA P-256 point, kUpdateKeyBytes; empty: nobody may approve other PCRs

    /// The object's authPolicy.
    [[nodiscard]] Digest digest() const;
    /// The branch for whoever brings a signature.
    [[nodiscard]] Digest by_approval() const;
};

/// The point in a SubjectPublicKeyInfo in DER. Input error: not an ECDSA P-256 key.
Result<Bytes> update_key_of(std::span<const std::byte> key);
/// The key as a TPM loads it, and its Name.
[[nodiscard]] TPM2B_PUBLIC public_of(const Bytes& update_key);
[[nodiscard]] Bytes update_key_name(const Bytes& update_key);
/// A signature as openssl makes it, as a TPM takes it. Input error: not an ECDSA signature.
Result<TPMT_SIGNATURE> signature_of(std::span<const std::byte> der);

}  // namespace holdfast::anchor
