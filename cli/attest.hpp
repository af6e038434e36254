// SPDX-License-Identifier: Apache-2.0
// holdfast attest: collects the evidence of a running VM for one verifier's nonce. It is the host that speaks
// here; what vouches for it is the quote of the host's TPM, which only the anchor can have made.
#pragma once

#include <optional>
#include <string>

#include "cli/verify.hpp"

namespace holdfast::cli {

/// What the guest itself has made for this nonce.
struct GuestsWord {
    std::optional<Blob> vtpm_quote;  ///< the vTPM's part; without one the host asks its vTPM
    std::optional<Blob> cpu;         ///< the CPU's part
};

/// Throws.
[[nodiscard]] Blob collect_evidence(const std::string& name, const Blob& nonce, const GuestsWord& by_guest,
                                    const std::string& state_dir);

}  // namespace holdfast::cli
