// SPDX-License-Identifier: Apache-2.0
// A new vTPM's first minutes: it gets the certificates of its endorsement keys and of its
// attestation key.
#pragma once

#include "vtpm/ca/authority.hpp"
#include "vtpm/ca/tpm.hpp"

namespace holdfast::vtpm::ca {

/// Switches a TPM that was never used on, certifies its EKs and its AK into the standard NV indices, and
/// switches it off again. `manufacturer` and `firmware` of the subject are the TPM's own word.
Result<void> provision(Tpm& tpm, const Authority& authority, Subject subject);

}  // namespace holdfast::vtpm::ca
