// SPDX-License-Identifier: Apache-2.0
// What the CPU of a hardware tier says, SEV-SNP's report or TDX's quote, through the four stages: alone, and
// as a layer of a VM's evidence, where the launch statement has to say the same.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "attest/evidence/evidence.hpp"
#include "attest/evidence/launch_statement.hpp"
#include "attest/formats/snp/policy.hpp"
#include "attest/formats/tdx/policy.hpp"

namespace holdfast::attest {

/// Borrows its bytes.
struct SnpRequest {
    Bytes report;
    ChainRequest chain;                ///< presents VCEK or VLEK
    std::optional<Bytes> report_data;  ///< what it has to be bound to
};
struct SnpReport {
    std::optional<Parsed<snp::Report>> report;  ///< what it says, whoever wrote it
    std::optional<Bound<snp::Endorsed>> bound;
};
[[nodiscard]] SnpReport verify_snp(const SnpRequest& request, ChainVerifier& roots, const snp::Policy& policy,
                                   Findings& findings);

/// Borrows its bytes.
struct TdxRequest {
    Bytes quote;
    ChainRequest chain;  ///< presents nothing: the quote does
    std::optional<Bytes> collateral;
    std::optional<Bytes> event_log;
    std::optional<Bytes> report_data;
};
struct TdxReport {
    std::optional<Parsed<tdx::Quote>> quote;
    std::optional<Bound<tdx::Certified>> bound;
    std::optional<tdx::TcbStatus> tcb;
};
[[nodiscard]] TdxReport verify_tdx(const TdxRequest& request, ChainVerifier& roots, const tdx::Policy& policy,
                                   Findings& findings);

struct CpuPolicy {
    std::vector<Certificate> snp_roots;  ///< none: no report of that tier is trusted
    snp::Policy snp;
    std::vector<Certificate> tdx_roots;
    tdx::Policy tdx;
};

/// Borrows its bytes.
struct CpuEvidence {
    const CpuPart* part = nullptr;
    const LaunchStatement* launch = nullptr;
    Bytes vtpm_key;  ///< TPM2B_PUBLIC of the key that the vTPM has quoted with; empty: it has not
    std::span<const Certificate> helpers{};
    std::span<const Crl> crls{};
    std::int64_t at = 0;
};
struct CpuReport {
    SnpReport snp;
    TdxReport tdx;
};
[[nodiscard]] CpuReport verify_cpu(const CpuEvidence& evidence, const CpuPolicy& policy, Findings& findings);

}  // namespace holdfast::attest
