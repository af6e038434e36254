// SPDX-License-Identifier: Apache-2.0
// All evidence of one VM, from the host's TPM up, through the four stages: the order of checks in one place.
#pragma once

#include "attest/evidence/anchor.hpp"
#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/verify/cpu.hpp"
#include "attest/verify/quote.hpp"
#include "attest/verify/vtpm.hpp"

namespace holdfast::attest {

struct LaunchPolicy {
    std::vector<std::string> tiers;               ///< empty: any but `none`
    std::vector<std::vector<std::byte>> digests;  ///< empty: any
    std::vector<std::vector<std::byte>>
        bundle_keys;  ///< SHA-256 of keys; not empty: one of them has signed it
    std::uint64_t min_security_version = 0;
    std::optional<std::uint64_t> max_window;  ///< bytes
    tpm::ReferencePcrs pcrs;                  ///< of the vTPM, at the guest's first instruction
};

struct WholePolicy {
    tpm::QuotePolicy quote;
    LaunchPolicy launch;
    AnchorPolicy anchor;
    tpm::CounterPolicy counter;
    std::optional<std::uint64_t> max_age;  ///< seconds
    VtpmPolicy vtpm;
    CpuPolicy cpu;
};

/// Borrows its bytes.
struct WholeEvidence {
    const Evidence* parts = nullptr;
    const HostPart* host = nullptr;
    AkTrust trust;
    std::optional<Bytes> nonce;
    std::int64_t at = 0;
    std::optional<tpm::LastSeen> last_seen;
    const VtpmPart* vtpm = nullptr;  ///< none: it has not quoted
    std::optional<tpm::LastSeen> vtpm_last_seen;
    tpm::KeyMemory* keys = nullptr;  ///< optional
    /// What the verifier has himself for the CPU's report; goes before what came along. Of SNP VCEK or VLEK,
    /// of TDX the collateral; and what helps to build the chain.
    Bytes vek{};
    Bytes collateral{};
    std::span<const Certificate> helpers{};
    std::span<const Crl> crls{};
};

struct WholeReport {
    QuoteReport host;
    std::optional<LaunchStatement> launch;  ///< what it says, whoever says it
    std::optional<AnchorState> anchor;      ///< bound
    std::optional<VtpmReport> vtpm;
    std::optional<CpuReport> cpu;
    bool is_bound = false;  ///< the host vouches for the launch statement
};

[[nodiscard]] WholeReport verify_whole(const WholeEvidence& evidence, const WholePolicy& policy,
                                       Findings& findings);

}  // namespace holdfast::attest
