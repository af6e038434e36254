// SPDX-License-Identifier: Apache-2.0
// The key that signs a TPM's statements (AK), and who vouches for it. A key that only the evidence itself
// names proves nothing: it reaches Authenticated by a certificate, by a list that the verifier keeps, or by
// the verifier's word.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attest/formats/tpm/public_area.hpp"
#include "attest/stage.hpp"

namespace holdfast::attest::tpm {

struct AttestationKey {
    PublicKey key;
    /// None: given as a bare key, and then it is not known whether it signs what it did not make itself.
    std::optional<PublicArea> area;
};

/// A TPMT_PUBLIC, TPM2B_PUBLIC or SubjectPublicKeyInfo (DER).
[[nodiscard]] Result<Parsed<AttestationKey>> parse_attestation_key(std::span<const std::byte> bytes);

/// Keys that were parsed before, for who verifies much by the same keys: making one of its numbers costs
/// OpenSSL about as much as half a verification. It remembers what bytes are, and never that a key is
/// trusted.
class KeyMemory {
public:
    Result<Parsed<AttestationKey>> parse(std::span<const std::byte> bytes);

private:
    struct Entry {
        std::vector<std::byte> bytes;
        Parsed<AttestationKey> key;
    };
    static constexpr std::size_t kEntries = 64;
    static constexpr std::size_t kMaxBytes = 4096;
    std::vector<Entry> entries_;
    std::size_t next_ = 0;  // which one gives way
};

// Each of these also asks whether the key can sign nothing but what its TPM made (TPM 2.0 Library, Part 1
// §25.3.2.2): restricted, for signing only, and bound to its TPM. Of a bare key that is not known, which is a
// note.

/// The verifier's own word: it got the key by enrolment, or the user names it.
[[nodiscard]] std::optional<Authenticated<AttestationKey>> trust_given(const Parsed<AttestationKey>& key,
                                                                       Findings& findings);
/// By the key of a certificate whose chain was verified.
[[nodiscard]] std::optional<Authenticated<AttestationKey>> trust_certified(const Parsed<AttestationKey>& key,
                                                                           const PublicKey& certified,
                                                                           Findings& findings);
/// By TPM names that the verifier keeps.
[[nodiscard]] std::optional<Authenticated<AttestationKey>> trust_named(
    const Parsed<AttestationKey>& key, std::span<const std::vector<std::byte>> names, Findings& findings);

}  // namespace holdfast::attest::tpm
