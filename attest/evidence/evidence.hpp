// SPDX-License-Identifier: Apache-2.0
// All evidence of one VM in one file: a collection of conceptual messages (CMW, RFC 9999) in CBOR. Each part
// is made for the verifier's nonce and for the parts before it, whose hashes it holds: launch statement,
// anchor's statement, host's quote. The vTPM's quote is for the nonce alone, the CPU's report for the nonce
// and the vTPM's key, and the host's quote names both. docs/attestation.md has the layout.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "attest/formats/tpm/authenticate.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest {

using Bytes = std::span<const std::byte>;

/// Borrows its bytes.
struct HostPart {
    Bytes attest;     ///< TPMS_ATTEST of a TPM2_Quote
    Bytes signature;  ///< TPMT_SIGNATURE
    Bytes key;        ///< TPM2B_PUBLIC of the attestation key
    std::vector<tpm::GivenPcrs> pcrs;
    std::optional<Bytes> event_log;
    std::optional<Bytes> ima_list;
};
[[nodiscard]] std::vector<std::byte> encode(const HostPart& host);

/// The same of the VM's vTPM, with the certificates of its keys. Borrows its bytes.
struct VtpmPart {
    HostPart quote;
    Bytes ak_certificate;  ///< DER; empty: there is none
    Bytes ek_certificate;
    Bytes ca_certificate;
};
[[nodiscard]] std::vector<std::byte> encode(const VtpmPart& vtpm);

/// What the CPU of a hardware tier says of the VM that asked it. Borrows its bytes.
struct CpuPart {
    std::string_view tier;  ///< kTierSnp or kTierTdx
    Bytes report;           ///< SNP's ATTESTATION_REPORT, or a TDX quote
    Bytes endorsement;      ///< certificates of VCEK or VLEK, or Intel's collateral in JSON; empty: none came
    Bytes event_log;        ///< of a TD: CCEL; empty: none came
};
inline constexpr std::string_view kTierSnp = "sev-snp";
inline constexpr std::string_view kTierTdx = "tdx";
[[nodiscard]] std::vector<std::byte> encode(const CpuPart& cpu);

/// Borrows its bytes, which are as they were hashed.
struct Evidence {
    Bytes host;
    std::optional<Bytes> anchor;  ///< docs/anchor.md, "What a verifier gets"
    Bytes launch;
    std::optional<Bytes> vtpm = std::nullopt;
    std::optional<Bytes> cpu = std::nullopt;
};
inline constexpr std::size_t kMaxEvidence = 64U << 20;

[[nodiscard]] std::vector<std::byte> encode(const Evidence& evidence);
Result<Evidence> decode_evidence(Bytes bytes);
Result<HostPart> decode_host(Bytes bytes);
Result<VtpmPart> decode_vtpm(Bytes bytes);
Result<CpuPart> decode_cpu(Bytes bytes);

/// What the anchor is asked to state, what the host's TPM is asked to quote for these other parts, and what
/// the guest has the CPU put into its report. `vtpm_key`: TPM2B_PUBLIC of the vTPM's attestation key; empty:
/// none.
[[nodiscard]] Digest256 anchor_question(Bytes nonce, Bytes launch);
[[nodiscard]] Digest256 host_question(Bytes nonce, const Evidence& parts);
[[nodiscard]] Digest256 cpu_question(Bytes nonce, Bytes vtpm_key);

}  // namespace holdfast::attest
