// SPDX-License-Identifier: Apache-2.0
// What a check found: a stable code and a sentence. Checks report all that is wrong and go on where they can;
// the verdict is made of the findings, and nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::attest {

/// Where a finding belongs, and so what it means for the verdict.
enum class Stage : std::uint8_t {
    Parse,         ///< malformed: not authentic
    Authenticate,  ///< no trusted key signed it: not authentic
    Bind,          ///< signed, and not tied to what was asked: not authentic
    Appraise,      ///< authentic, and the policy refuses it
    Note,          ///< refuses nothing: what stays unknown
};

/// Names in finding.cpp, in this order. They are what programs read: never renamed, never used anew.
enum class Code : std::uint16_t {
    // TPM quotes and certifications
    TpmMalformed,
    TpmAkAttributes,
    TpmAkCertificate,
    TpmAkUnknown,
    TpmScheme,
    TpmSignature,
    TpmMagic,
    TpmType,
    TpmNonce,
    TpmNonceNotAsked,
    TpmPcrMissing,
    TpmPcrBank,
    TpmPcrDigest,
    TpmBank,
    TpmSignatureHash,
    TpmKeyWeak,
    TpmSelection,
    TpmClockBack,
    TpmAkGiven,
    TpmAkBare,
    TpmClockUnsafe,
    SrtmUnmeasured,
    SrtmPcr,
    DrtmNone,
    DrtmUnmeasured,
    DrtmPcr,
    NvName,
    NvRange,
    NvAttributes,
    NvOrderly,
    NvCounterBack,
    // Event logs
    LogMalformed,
    LogReplay,
    LogUnbound,
    LogDigest,
    LogSeparatorMissing,
    LogSeparatorTwice,
    LogSeparatorValue,
    LogSeparatorHidden,
    LogOrder,
    LogSecureBootTwice,
    LogMissing,
    // IMA lists
    ImaMalformed,
    ImaTemplateHash,
    ImaReplay,
    ImaViolation,
    ImaBootAggregate,
    ImaBootAggregateUnknown,
    ImaMissing,
    PolicyNotJudged,
    // Certificates
    CertMalformed,
    CertUntrusted,
    CertSignature,
    CertExpired,
    CertNotYetValid,
    CertConstraints,
    CertRevoked,
    CertCrlStale,
    CertCrlInvalid,
    CertCrlMissing,
    CertNoCrl,

    // SEV-SNP
    SnpMalformed,
    SnpUnsigned,
    SnpVek,
    SnpKeyKind,
    SnpSignature,
    SnpProduct,
    SnpUnknownProduct,
    SnpTcb,
    SnpChip,
    SnpChipMasked,
    SnpReportData,
    SnpDebug,
    SnpMigration,
    SnpPolicyFormat,
    SnpVmpl,
    SnpTcbOrder,
    SnpMinTcb,
    SnpMinLaunchTcb,
    SnpMinBuild,
    SnpMinGuestSvn,
    SnpMeasurement,
    SnpHostData,
    SnpIdKey,
    SnpAuthorKey,
    SnpChipNotAllowed,
    SnpPlatform,
    SnpMitigations,

    // TDX
    TdxMalformed,
    TdxVendor,
    TdxPck,
    TdxQeSignature,
    TdxQeBinding,
    TdxSignature,
    TdxReportData,
    TdxNotTdx,
    TdxDebug,
    TdxSeptVe,
    TdxMigratable,
    TdxServiceTd,
    TdxAttributes,
    TdxXfam,
    TdxMrtd,
    TdxRtmr,
    TdxConfig,
    TdxPlatform,
    TdxTrailing,
    TdxNoTcbInfo,
    TdxNoQeIdentity,
    TdxCollateralDemanded,
    TdxCollateralMalformed,
    TdxCollateralChain,
    TdxCollateralSignature,
    TdxCollateralKind,
    TdxCollateralStale,
    TdxCollateralEarly,
    TdxCollateralOlder,
    TdxFmspc,
    TdxPceId,
    TdxModule,
    TdxNoTcbLevel,
    TdxTcbStatus,
    TdxAdvisories,
    TdxQeIdentity,

    // Azure HCL
    AzureMalformed,
    AzureReportKind,
    AzureVariableData,
    AzureTdReport,

    // Whole evidence of a VM
    EvidenceMalformed,
    EvidenceNonce,
    EvidenceBinding,
    EvidenceAge,
    HostNotEnrolled,
    HostEk,
    HostSoftwareTpm,
    LaunchTier,
    LaunchDigest,
    LaunchWindow,
    LaunchNoBundle,
    LaunchBundleKey,
    LaunchSecurityVersion,
    LaunchPcr,
    VtpmNotQuoted,
    VtpmUncertified,
    VtpmCertificate,
    VtpmCa,
    VtpmCaUnknown,
    VtpmOtherVm,
    VtpmEk,
    VtpmPcr,
    VtpmChanged,
    VtpmAskedByHost,
    CpuMissing,
    CpuTier,
    CpuLaunchDigest,
    AnchorMissing,
    AnchorKey,
    AnchorStatement,
    AnchorValue,
    AnchorLeaf,
    AnchorNonce,
    AnchorOtherVm,
    AnchorNotRunning,
    AnchorGap,
    AnchorReanchored,

    Count_,
};

struct CodeRow {
    Code code;
    std::string_view name;  ///< "tpm.malformed"
    Stage stage;
    std::string_view title;  ///< for people: what is wrong
};
[[nodiscard]] std::span<const CodeRow> code_table() noexcept;
[[nodiscard]] const CodeRow& row_of(Code code) noexcept;

struct Finding {
    Code code = Code::Count_;
    std::string detail;
};

class Findings {
public:
    /// `detail` may quote the evidence: it is cut, and what is not printable ASCII is replaced.
    void add(Code code, std::string_view detail = {});
    void append(const Findings& more);
    [[nodiscard]] bool has(Code code) const noexcept;
    /// Of the findings of these stages there are none.
    [[nodiscard]] bool is_authentic() const noexcept;
    [[nodiscard]] bool is_accepted() const noexcept;
    [[nodiscard]] std::span<const Finding> list() const noexcept { return findings_; }
    /// How many more there were: evidence of any size gives a list of bounded size.
    [[nodiscard]] std::size_t left_out() const noexcept { return left_out_; }

private:
    std::vector<Finding> findings_;
    std::size_t left_out_ = 0;
    bool authentic_ = true;
    bool accepted_ = true;
};

}  // namespace holdfast::attest
