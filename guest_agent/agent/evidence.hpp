// SPDX-License-Identifier: Apache-2.0
// This guest's evidence for a verifier's nonce: a quote by its own vTPM, to which its host adds what it and
// its TPM say (docs/attestation.md). What the host answers is not judged here: the verifier does that.
#pragma once

#include <vector>

#include "guest_agent/crypto/key.hpp"
#include "sys/sha2.hpp"
#include "vtpm/quote.hpp"

namespace holdfast::agent {

/// This guest's vTPM alone, for this nonce.
Result<vtpm::OwnQuote> quote_own(const Digest256& nonce);

Result<std::vector<std::byte>> make_evidence(const Digest256& nonce);

}  // namespace holdfast::agent
