// SPDX-License-Identifier: Apache-2.0
// What a verifier accepts, as a person writes it: TOML 1.0, described in docs/attestation.md. Every table and
// key may be missing; what is not known is an error, because a key that is spelled wrong must not be a check
// that is left out.
#pragma once

#include <string>
#include <vector>

#include "attest/formats/snp/policy.hpp"
#include "attest/formats/tdx/policy.hpp"
#include "attest/formats/tpm/appraise.hpp"
#include "attest/formats/tpm/nv.hpp"
#include "attest/verify/whole.hpp"

namespace holdfast::attest {

/// Files are named as in the policy: whoever read it opens them, and finds them from where it lies.
struct Policy {
    std::string last_seen;  ///< [freshness]; empty: nothing is remembered

    // [host]: the host's TPM
    std::vector<std::string> tpm_roots;
    std::vector<std::vector<std::byte>> ak_names;
    tpm::QuotePolicy quote;

    tpm::CounterPolicy counter;  // [anchor]

    std::vector<std::string> snp_roots;  // [snp], and [launch] digest
    snp::Policy snp;

    std::vector<std::string> tdx_roots;  // [tdx]
    tdx::Policy tdx;

    // Whole evidence: [launch], [vtpm], the rest of [host] and [freshness]
    WholePolicy whole;                     ///< without `quote` and `counter`, which are above
    std::vector<std::string> bundle_keys;  ///< files
    std::vector<std::string> vtpm_roots;   ///< files: [vtpm] roots
    std::string enrolled;                  ///< file of the hosts that were enrolled; empty: none
    std::vector<std::vector<std::byte>> eks;

    /// Tables and keys that are known and say nothing about a piece by itself: "launch.tier".
    std::vector<std::string> for_whole_evidence;
};

}  // namespace holdfast::attest
