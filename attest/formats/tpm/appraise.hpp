// SPDX-License-Identifier: Apache-2.0
// What a policy says of a quote that is authentic. The static root of trust (PCRs 0-7) and a dynamic launch
// (PCRs 17-22) are judged apart.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <vector>

#include "attest/formats/tpm/authenticate.hpp"

namespace holdfast::attest::tpm {

using ReferencePcrs = std::map<HashAlg, std::map<std::uint32_t, Digest>>;

/// As it is, the strict one of somebody who knows no reference values.
struct QuotePolicy {
    std::vector<HashAlg> hashes{HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512};  ///< banks and signature
    unsigned min_rsa_bits = 2048;
    bool measured_boot = true;  ///< each of PCRs 0-7 is quoted, and was extended
    ReferencePcrs pcrs;
    bool drtm_required = false;
    ReferencePcrs drtm;
    // What must come along.
    bool nonce_required = false;
    bool log_required = false;
    bool ima_required = false;
};

/// What the verifier remembers of an AK's last statement that it accepted.
struct LastSeen {
    std::uint64_t clock = 0;
    std::uint32_t reset_count = 0;
    std::uint32_t restart_count = 0;
};

void appraise_statement(const Authenticated<Signed>& statement, const QuotePolicy& policy,
                        const std::optional<LastSeen>& last_seen, Findings& findings);
void appraise_selection(const Authenticated<Signed>& quote, const QuotePolicy& policy, Findings& findings);
void appraise_pcrs(const Bound<PcrValues>& pcrs, const QuotePolicy& policy, Findings& findings);

}  // namespace holdfast::attest::tpm
