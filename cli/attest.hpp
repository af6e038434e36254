// SPDX-License-Identifier: Apache-2.0
// holdfast attest: collects the evidence of a running VM for one verifier's nonce. It is the host that speaks
// here; what vouches for it is the quote of the host's TPM, which only the anchor can have made.
#pragma once

#include <optional>
#include <string>

#include "cli/verify.hpp"

namespace holdfast::cli {

/// `by_guest`: the vTPM's part, which the guest has made for this nonce; without one the host asks its vTPM.
/// Throws.
[[nodiscard]] Blob collect_evidence(const std::string& name, const Blob& nonce,
                                    const std::optional<Blob>& by_guest, const std::string& state_dir);

}  // namespace holdfast::cli
