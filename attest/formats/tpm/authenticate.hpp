// SPDX-License-Identifier: Apache-2.0
// Whether a trusted key signed what a TPM is said to have stated, and what the statement is tied to: the
// nonce, and the PCR values whose digest a quote holds.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "attest/formats/tpm/attestation_key.hpp"
#include "attest/formats/tpm/statement.hpp"

namespace holdfast::attest::tpm {

/// A statement with how it was signed.
struct Signed {
    Attest attest;
    Scheme scheme = Scheme::Ecdsa;
    HashAlg hash = HashAlg::Sha256;
    unsigned key_bits = 0;
    KeyKind key_kind = KeyKind::P256;
};

enum class Wanted : std::uint8_t { Quote, NvCertify };

/// Scheme as the key's own, signature, magic, and that it is a statement of the kind that is wanted.
/// `trusted` may be missing: then all is checked none the less, for the sake of the reasons, and nothing is
/// granted.
[[nodiscard]] std::optional<Authenticated<Signed>> authenticate(
    const Parsed<Attest>& attest, const WireSignature& signature, const Parsed<AttestationKey>& key,
    const std::optional<Authenticated<AttestationKey>>& trusted, Wanted wanted, Findings& findings);

/// Whether the TPM was given exactly this nonce. The comparison takes the same time wherever they differ.
[[nodiscard]] std::optional<Bound<Signed>> bind_nonce(const Authenticated<Signed>& statement,
                                                      std::span<const std::byte> nonce, Findings& findings);

/// PCR values of one bank by index, from anybody. `bank` 0: that of the quote, if it has only one.
struct GivenPcrs {
    std::uint16_t bank = 0;
    std::map<std::uint32_t, std::vector<std::byte>> values;
};
/// Of a bank's bitmap and its values one after the other.
[[nodiscard]] GivenPcrs given_pcrs(std::uint16_t bank, std::uint32_t pcrs, std::span<const std::byte> values);

/// PCR values that somebody vouches for, in the order of the quote's selection.
struct PcrValues {
    struct Bank {
        HashAlg alg = HashAlg::Sha256;
        std::map<std::uint32_t, Digest> values;
    };
    std::vector<Bank> banks;
    [[nodiscard]] const Digest* find(HashAlg alg, std::uint32_t pcr) const noexcept;
};
/// The given values of what the quote selects, in its order, have the digest that it states, by the hash of
/// the signature (TPM 2.0 Library, Part 3 §18.4). Values of PCRs that it does not select are left out.
[[nodiscard]] std::optional<Bound<PcrValues>> bind_pcrs(const Authenticated<Signed>& quote,
                                                        std::span<const GivenPcrs> given, Findings& findings);
/// PCR values that the verifier knows from elsewhere, to hold a log against.
[[nodiscard]] Bound<PcrValues> known_pcrs(PcrValues values);

}  // namespace holdfast::attest::tpm
