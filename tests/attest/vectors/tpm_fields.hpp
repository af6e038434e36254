// SPDX-License-Identifier: Apache-2.0
// A TPM's statement as the fields of cases.json have it.
#pragma once

#include "attest/formats/tpm/appraise.hpp"
#include "tests/attest/vectors/case.hpp"

namespace holdfast::attest::vectors {

[[nodiscard]] Json fields_of(const tpm::Attest& attest);
/// A case's state.last_seen, if it has one.
[[nodiscard]] std::optional<tpm::LastSeen> last_seen_of(const Case& test);
/// Values without a bank are those of the quote's own bank.
[[nodiscard]] std::vector<tpm::GivenPcrs> given(const Pcrs& pcrs);

}  // namespace holdfast::attest::vectors
