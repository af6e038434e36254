// SPDX-License-Identifier: Apache-2.0
#include "attest/finding.hpp"

#include <algorithm>
#include <array>

#include "sys/result.hpp"

namespace holdfast::attest {
namespace {

constexpr std::size_t kMostFindings = 256;
constexpr std::size_t kLongestDetail = 240;

constexpr std::array kRows{
    // TPM quotes and certifications
    CodeRow{Code::TpmMalformed, "tpm.malformed", Stage::Parse, "a TPM structure is malformed"},
    CodeRow{Code::TpmAkAttributes, "tpm.ak-attributes", Stage::Authenticate,
            "the attestation key could sign what its TPM did not make"},
    CodeRow{Code::TpmAkCertificate, "tpm.ak-certificate", Stage::Authenticate,
            "the certificate is for another key"},
    CodeRow{Code::TpmAkUnknown, "tpm.ak-unknown", Stage::Authenticate,
            "the attestation key is not one that is trusted"},
    CodeRow{Code::TpmScheme, "tpm.scheme", Stage::Authenticate,
            "the signature's scheme is not allowed, or not the key's"},
    CodeRow{Code::TpmSignature, "tpm.signature", Stage::Authenticate, "the signature does not match"},
    CodeRow{Code::TpmMagic, "tpm.magic", Stage::Authenticate, "the statement was not made by a TPM"},
    CodeRow{Code::TpmType, "tpm.type", Stage::Authenticate, "it is a statement of another kind"},
    CodeRow{Code::TpmNonce, "tpm.nonce", Stage::Bind, "the statement does not hold the nonce"},
    CodeRow{Code::TpmNonceNotAsked, "nonce.not-asked", Stage::Appraise,
            "no nonce was given: it may be of any time"},
    CodeRow{Code::TpmPcrMissing, "tpm.pcr-missing", Stage::Bind, "a PCR that was quoted has no value"},
    CodeRow{Code::TpmPcrBank, "tpm.pcr-bank", Stage::Bind, "a PCR value is not of the bank that was quoted"},
    CodeRow{Code::TpmPcrDigest, "tpm.pcr-digest", Stage::Bind,
            "the PCR values are not those that were quoted"},
    CodeRow{Code::TpmBank, "tpm.bank", Stage::Appraise,
            "a PCR bank of an algorithm that the policy does not allow"},
    CodeRow{Code::TpmSignatureHash, "tpm.signature-hash", Stage::Appraise,
            "the signature's hash is not allowed"},
    CodeRow{Code::TpmKeyWeak, "tpm.key-weak", Stage::Appraise, "the attestation key is too short"},
    CodeRow{Code::TpmSelection, "tpm.selection", Stage::Appraise,
            "a PCR that the policy asks for was not quoted"},
    CodeRow{Code::TpmClockBack, "tpm.clock-back", Stage::Appraise,
            "the TPM's clock went back: an older statement"},
    CodeRow{Code::TpmAkGiven, "tpm.ak-given", Stage::Note,
            "the attestation key is trusted because the verifier was told so"},
    CodeRow{Code::TpmAkBare, "tpm.ak-bare", Stage::Note, "the attestation key's attributes are not known"},
    CodeRow{Code::TpmClockUnsafe, "tpm.clock-unsafe", Stage::Note,
            "the TPM may have stated a later clock before"},
    CodeRow{Code::SrtmUnmeasured, "srtm.unmeasured", Stage::Appraise,
            "a PCR of the firmware was never extended: no measured boot"},
    CodeRow{Code::SrtmPcr, "srtm.pcr", Stage::Appraise, "a PCR is not as the policy says"},
    CodeRow{Code::DrtmNone, "drtm.none", Stage::Appraise, "no dynamic launch took place"},
    CodeRow{Code::DrtmUnmeasured, "drtm.unmeasured", Stage::Appraise,
            "a dynamic launch was begun and nothing measured"},
    CodeRow{Code::DrtmPcr, "drtm.pcr", Stage::Appraise,
            "a PCR of the dynamic launch is not as the policy says"},
    CodeRow{Code::NvName, "nv.name", Stage::Bind, "the certification is of another NV index"},
    CodeRow{Code::NvRange, "nv.range", Stage::Bind, "the certification is not of the whole counter"},
    CodeRow{Code::NvAttributes, "nv.attributes", Stage::Appraise,
            "the NV index is not a counter that was written"},
    CodeRow{Code::NvOrderly, "nv.orderly", Stage::Appraise, "the counter may jump when power is lost"},
    CodeRow{Code::NvCounterBack, "nv.counter-back", Stage::Appraise, "the counter is lower than seen before"},
    // Event logs
    CodeRow{Code::LogMalformed, "log.malformed", Stage::Parse, "the event log is malformed"},
    CodeRow{Code::LogReplay, "log.replay", Stage::Appraise, "the event log does not explain a PCR"},
    CodeRow{Code::LogUnbound, "log.unbound", Stage::Appraise, "nobody vouches for the PCRs of the event log"},
    CodeRow{Code::LogDigest, "log.digest", Stage::Appraise, "an event's data is not what was measured"},
    CodeRow{Code::LogSeparatorMissing, "log.separator-missing", Stage::Appraise, "a PCR has no separator"},
    CodeRow{Code::LogSeparatorTwice, "log.separator-twice", Stage::Appraise, "a PCR has a second separator"},
    CodeRow{Code::LogSeparatorValue, "log.separator-value", Stage::Appraise,
            "a separator has a value that it cannot have"},
    CodeRow{Code::LogSeparatorHidden, "log.separator-hidden", Stage::Appraise,
            "a separator is disguised as an event of another type"},
    CodeRow{Code::LogOrder, "log.order", Stage::Appraise,
            "an event is on the wrong side of its PCR's separator"},
    CodeRow{Code::LogSecureBootTwice, "log.secure-boot-twice", Stage::Appraise,
            "there is a second SecureBoot variable"},
    CodeRow{Code::LogMissing, "log.missing", Stage::Appraise, "the policy wants an event log"},
    // IMA lists
    CodeRow{Code::ImaMalformed, "ima.malformed", Stage::Parse, "the IMA list is malformed"},
    CodeRow{Code::ImaTemplateHash, "ima.template-hash", Stage::Parse,
            "an IMA entry is not what its template hash is of"},
    CodeRow{Code::ImaReplay, "ima.replay", Stage::Appraise, "the IMA list does not explain PCR 10"},
    CodeRow{Code::ImaViolation, "ima.violation", Stage::Appraise, "a file was written while it was measured"},
    CodeRow{Code::ImaBootAggregate, "ima.boot-aggregate", Stage::Appraise,
            "the IMA list does not begin with the boot that was quoted"},
    CodeRow{Code::ImaBootAggregateUnknown, "ima.boot-aggregate-unknown", Stage::Note,
            "the PCRs that the boot aggregate sums up are not known"},
    CodeRow{Code::ImaMissing, "ima.missing", Stage::Appraise, "the policy wants an IMA list"},
    CodeRow{Code::PolicyNotJudged, "policy.not-judged", Stage::Note,
            "this part of the policy is about whole evidence"},
    // Certificates
    CodeRow{Code::CertMalformed, "cert.malformed", Stage::Parse, "a certificate is malformed"},
    CodeRow{Code::CertUntrusted, "cert.untrusted", Stage::Authenticate,
            "a chain of certificates does not end in a trusted root"},
    CodeRow{Code::CertSignature, "cert.signature", Stage::Authenticate,
            "a certificate is not signed by its issuer"},
    CodeRow{Code::CertExpired, "cert.expired", Stage::Authenticate, "a certificate has expired"},
    CodeRow{Code::CertNotYetValid, "cert.not-yet-valid", Stage::Authenticate,
            "a certificate is not valid yet"},
    CodeRow{Code::CertConstraints, "cert.constraints", Stage::Authenticate,
            "a certificate is used for what it was not issued for"},
    CodeRow{Code::CertRevoked, "cert.revoked", Stage::Authenticate, "a certificate has been revoked"},
    CodeRow{Code::CertCrlStale, "cert.crl-stale", Stage::Appraise, "a revocation list is not of this time"},
    CodeRow{Code::CertCrlInvalid, "cert.crl-invalid", Stage::Appraise,
            "a revocation list is not by the issuer that it names"},
    CodeRow{Code::CertCrlMissing, "cert.crl-missing", Stage::Appraise,
            "a revocation list is demanded and not there"},
    CodeRow{Code::CertNoCrl, "cert.no-crl", Stage::Note,
            "whether a certificate has been revoked is not known"},

    // SEV-SNP
    CodeRow{Code::SnpMalformed, "snp.malformed", Stage::Parse, "the SNP report is malformed"},
    CodeRow{Code::SnpUnsigned, "snp.unsigned", Stage::Authenticate,
            "the SNP report is not signed by a key that AMD certifies"},
    CodeRow{Code::SnpVek, "snp.vek", Stage::Authenticate,
            "the certificate is not one of an SNP endorsement key"},
    CodeRow{Code::SnpKeyKind, "snp.key-kind", Stage::Authenticate,
            "the SNP report was signed by a key of another kind"},
    CodeRow{Code::SnpSignature, "snp.signature", Stage::Authenticate,
            "the signature of the SNP report does not match"},
    CodeRow{Code::SnpProduct, "snp.product", Stage::Authenticate,
            "the SNP report and its endorsement name different products"},
    CodeRow{Code::SnpUnknownProduct, "snp.unknown-product", Stage::Authenticate,
            "the SNP report is of a product that is not known here"},
    CodeRow{Code::SnpTcb, "snp.tcb", Stage::Authenticate,
            "the endorsement is for another TCB than the SNP report states"},
    CodeRow{Code::SnpChip, "snp.chip", Stage::Authenticate, "the endorsement is of another chip"},
    CodeRow{Code::SnpChipMasked, "snp.chip-masked", Stage::Note,
            "which chip made the SNP report is not told"},
    CodeRow{Code::SnpReportData, "snp.report-data", Stage::Bind,
            "the SNP report is not tied to what was asked"},
    CodeRow{Code::SnpDebug, "snp.debug", Stage::Appraise, "the host may debug the SNP guest"},
    CodeRow{Code::SnpMigration, "snp.migration-agent", Stage::Appraise,
            "the SNP guest may be moved by a migration agent"},
    CodeRow{Code::SnpPolicyFormat, "snp.policy-format", Stage::Appraise,
            "the SNP guest policy is not as the ABI has it"},
    CodeRow{Code::SnpVmpl, "snp.vmpl", Stage::Appraise,
            "the SNP report was asked for at a VMPL that is not allowed"},
    CodeRow{Code::SnpTcbOrder, "snp.tcb-order", Stage::Appraise,
            "the TCB versions of the SNP report contradict each other"},
    CodeRow{Code::SnpMinTcb, "snp.min-tcb", Stage::Appraise,
            "the TCB of the SNP platform is older than allowed"},
    CodeRow{Code::SnpMinLaunchTcb, "snp.min-launch-tcb", Stage::Appraise,
            "the SNP guest was launched on a TCB older than allowed"},
    CodeRow{Code::SnpMinBuild, "snp.min-firmware", Stage::Appraise, "the SNP firmware is older than allowed"},
    CodeRow{Code::SnpMinGuestSvn, "snp.min-guest-svn", Stage::Appraise,
            "the security version of the SNP guest is lower than allowed"},
    CodeRow{Code::SnpMeasurement, "snp.measurement", Stage::Appraise,
            "the SNP launch digest is not an allowed one"},
    CodeRow{Code::SnpHostData, "snp.host-data", Stage::Appraise, "the SNP host data is not the allowed one"},
    CodeRow{Code::SnpIdKey, "snp.id-key", Stage::Appraise,
            "the SNP guest is not identified by an allowed key"},
    CodeRow{Code::SnpAuthorKey, "snp.author-key", Stage::Appraise,
            "the SNP identity key is not certified by an allowed author"},
    CodeRow{Code::SnpChipNotAllowed, "snp.chip-not-allowed", Stage::Appraise,
            "the chip is not an allowed one"},
    CodeRow{Code::SnpPlatform, "snp.platform", Stage::Appraise,
            "the SNP platform lacks what is demanded or has what is forbidden"},
    CodeRow{Code::SnpMitigations, "snp.mitigations", Stage::Appraise,
            "the SNP platform lacks a mitigation that is demanded"},

    // TDX
    CodeRow{Code::TdxMalformed, "tdx.malformed", Stage::Parse, "the TDX quote is malformed"},
    CodeRow{Code::TdxVendor, "tdx.vendor", Stage::Authenticate,
            "the quote is by a quoting enclave of another vendor"},
    CodeRow{Code::TdxPck, "tdx.pck", Stage::Authenticate,
            "the certificate is not one of a provisioning certification key"},
    CodeRow{Code::TdxQeSignature, "tdx.qe-signature", Stage::Authenticate,
            "the report of the quoting enclave is not signed by the platform"},
    CodeRow{Code::TdxQeBinding, "tdx.qe-binding", Stage::Authenticate,
            "the quoting enclave does not vouch for the attestation key"},
    CodeRow{Code::TdxSignature, "tdx.signature", Stage::Authenticate,
            "the signature of the quote does not match"},
    CodeRow{Code::TdxReportData, "tdx.report-data", Stage::Bind, "the quote is not tied to what was asked"},
    CodeRow{Code::TdxNotTdx, "tdx.not-tdx", Stage::Appraise,
            "the quote is of an SGX enclave and not of a TD"},
    CodeRow{Code::TdxDebug, "tdx.debug", Stage::Appraise, "the host may debug the TD"},
    CodeRow{Code::TdxSeptVe, "tdx.sept-ve", Stage::Appraise, "the host may take pages from the TD unnoticed"},
    CodeRow{Code::TdxMigratable, "tdx.migratable", Stage::Appraise,
            "the TD may be moved to another platform"},
    CodeRow{Code::TdxServiceTd, "tdx.service-td", Stage::Appraise,
            "service TDs are bound to the TD, and not allowed"},
    CodeRow{Code::TdxAttributes, "tdx.attributes", Stage::Appraise,
            "the TD has attributes that nobody knows"},
    CodeRow{Code::TdxXfam, "tdx.xfam", Stage::Appraise, "the TD may use CPU features that are not allowed"},
    CodeRow{Code::TdxMrtd, "tdx.mrtd", Stage::Appraise, "the measurement of the TD is not an allowed one"},
    CodeRow{Code::TdxRtmr, "tdx.rtmr", Stage::Appraise,
            "a runtime measurement of the TD is not the allowed one"},
    CodeRow{Code::TdxConfig, "tdx.config", Stage::Appraise,
            "owner or configuration of the TD are not the allowed ones"},
    CodeRow{Code::TdxPlatform, "tdx.platform", Stage::Appraise, "the platform is not an allowed one"},
    CodeRow{Code::TdxTrailing, "tdx.trailing", Stage::Note, "bytes follow the quote, and were not read"},
    CodeRow{Code::TdxNoTcbInfo, "tdx.no-tcb-info", Stage::Note,
            "how up to date the platform is is not known"},
    CodeRow{Code::TdxNoQeIdentity, "tdx.no-qe-identity", Stage::Note,
            "whether the quoting enclave is Intel's and up to date is not known"},
    CodeRow{Code::TdxCollateralDemanded, "tdx.collateral-demanded", Stage::Appraise,
            "collateral is demanded and not there"},
    CodeRow{Code::TdxCollateralMalformed, "tdx.collateral-malformed", Stage::Appraise,
            "a piece of collateral is malformed"},
    CodeRow{Code::TdxCollateralChain, "tdx.collateral-chain", Stage::Appraise,
            "the signer of collateral has no chain to a trusted root"},
    CodeRow{Code::TdxCollateralSignature, "tdx.collateral-signature", Stage::Appraise,
            "the signature of collateral does not match"},
    CodeRow{Code::TdxCollateralKind, "tdx.collateral-kind", Stage::Appraise,
            "a piece of collateral is for something else"},
    CodeRow{Code::TdxCollateralStale, "tdx.collateral-stale", Stage::Appraise,
            "a piece of collateral is out of date"},
    CodeRow{Code::TdxCollateralEarly, "tdx.collateral-early", Stage::Appraise,
            "a piece of collateral is from the future"},
    CodeRow{Code::TdxCollateralOlder, "tdx.collateral-older", Stage::Appraise,
            "a piece of collateral is older than one seen before"},
    CodeRow{Code::TdxFmspc, "tdx.fmspc", Stage::Appraise, "the TCB info is for another platform (FMSPC)"},
    CodeRow{Code::TdxPceId, "tdx.pce-id", Stage::Appraise,
            "the TCB info is for another certification enclave (PCE-ID)"},
    CodeRow{Code::TdxModule, "tdx.module", Stage::Appraise,
            "the TDX module is not one that the TCB info knows"},
    CodeRow{Code::TdxNoTcbLevel, "tdx.no-tcb-level", Stage::Appraise,
            "the platform is below every TCB level"},
    CodeRow{Code::TdxTcbStatus, "tdx.tcb-status", Stage::Appraise, "the TCB status is not an allowed one"},
    CodeRow{Code::TdxAdvisories, "tdx.advisories", Stage::Note, "security advisories concern the platform"},
    CodeRow{Code::TdxQeIdentity, "tdx.qe-identity", Stage::Appraise,
            "the quoting enclave is not the one that Intel names"},

    // Azure HCL
    CodeRow{Code::AzureMalformed, "azure.malformed", Stage::Parse, "the Azure evidence is malformed"},
    CodeRow{Code::AzureReportKind, "azure.report-kind", Stage::Bind,
            "the Azure evidence lacks the report of the kind that it names"},
    CodeRow{Code::AzureVariableData, "azure.variable-data", Stage::Bind,
            "the hardware report is not tied to the keys of the vTPM"},
    CodeRow{Code::AzureTdReport, "azure.td-report", Stage::Bind,
            "the TD report and the TD quote are not of the same TD"},
    // Whole evidence of a VM
    CodeRow{Code::EvidenceMalformed, "evidence.malformed", Stage::Parse,
            "a part of the evidence is malformed"},
    CodeRow{Code::EvidenceNonce, "evidence.nonce", Stage::Bind,
            "it was collected for another nonce: a replay"},
    CodeRow{Code::EvidenceBinding, "evidence.binding", Stage::Bind,
            "the host's quote was not made for these parts of the evidence"},
    CodeRow{Code::EvidenceAge, "evidence.age", Stage::Appraise,
            "it was collected longer ago than the policy allows"},
    CodeRow{Code::HostNotEnrolled, "host.not-enrolled", Stage::Authenticate,
            "nobody has enrolled this attestation key"},
    CodeRow{Code::HostEk, "host.ek", Stage::Authenticate,
            "the policy does not name the endorsement key of this host's TPM"},
    CodeRow{Code::HostSoftwareTpm, "host.software-tpm", Stage::Appraise, "the host's TPM is a software TPM"},
    CodeRow{Code::LaunchTier, "launch.tier", Stage::Appraise,
            "the VM is of a tier that the policy does not allow"},
    CodeRow{Code::LaunchDigest, "launch.digest", Stage::Appraise,
            "the launch digest is not one that the policy names"},
    CodeRow{Code::LaunchWindow, "launch.window", Stage::Appraise,
            "more of the memory may be clear than the policy allows"},
    CodeRow{Code::LaunchNoBundle, "launch.no-bundle", Stage::Appraise,
            "the VM was not launched from a bundle"},
    CodeRow{Code::LaunchBundleKey, "launch.bundle-key", Stage::Appraise,
            "nobody whom the policy names has signed the bundle"},
    CodeRow{Code::LaunchSecurityVersion, "launch.security-version", Stage::Appraise,
            "the bundle is older than the policy allows"},
    CodeRow{Code::LaunchPcr, "launch.pcr", Stage::Appraise,
            "what was measured at launch is not as the policy says"},
    CodeRow{Code::VtpmNotQuoted, "vtpm.not-quoted", Stage::Appraise,
            "the vTPM has not quoted its PCRs, which the policy asks for"},
    CodeRow{Code::VtpmUncertified, "vtpm.uncertified", Stage::Authenticate,
            "nobody has certified the keys of the vTPM"},
    CodeRow{Code::VtpmCertificate, "vtpm.certificate", Stage::Authenticate,
            "a certificate is not of such a key of a vTPM"},
    CodeRow{Code::VtpmCa, "vtpm.ca", Stage::Bind,
            "the keys of the vTPM were certified by another host than the launch statement's"},
    CodeRow{Code::VtpmCaUnknown, "vtpm.ca-unknown", Stage::Authenticate,
            "who certified the keys of the vTPM is not one that the policy trusts"},
    CodeRow{Code::VtpmOtherVm, "vtpm.other-vm", Stage::Bind,
            "the quote is of another vTPM than the launch statement's"},
    CodeRow{Code::VtpmEk, "vtpm.ek", Stage::Appraise, "the policy does not name the vTPM's endorsement key"},
    CodeRow{Code::VtpmPcr, "vtpm.pcr", Stage::Appraise, "a PCR of the vTPM is not the reference value"},
    CodeRow{Code::VtpmChanged, "vtpm.changed", Stage::Appraise,
            "PCRs 0-7 of the vTPM are not as they were when the guest started"},
    CodeRow{Code::VtpmAskedByHost, "vtpm.asked-by-host", Stage::Appraise,
            "the host asked for the vTPM's quote, and not the guest"},
    CodeRow{Code::CpuMissing, "cpu.missing", Stage::Bind,
            "the tier is the CPU's, and there is no report by the CPU"},
    CodeRow{Code::CpuTier, "cpu.tier", Stage::Bind,
            "the CPU's report is of another tier than the launch statement's"},
    CodeRow{Code::CpuLaunchDigest, "cpu.launch-digest", Stage::Bind,
            "what the CPU measured is not the launch statement's launch digest"},
    CodeRow{Code::AnchorMissing, "anchor.missing", Stage::Appraise,
            "no anchor vouches for the state of the vTPM"},
    CodeRow{Code::AnchorKey, "anchor.key", Stage::Authenticate, "the anchor's statement is of another host"},
    CodeRow{Code::AnchorStatement, "anchor.statement", Stage::Bind,
            "the counters were certified for another statement of the anchor"},
    CodeRow{Code::AnchorValue, "anchor.value", Stage::Bind,
            "a counter does not have the value that the anchor states"},
    CodeRow{Code::AnchorLeaf, "anchor.leaf", Stage::Bind, "the vTPM's leaf is not in the anchor's ledger"},
    CodeRow{Code::AnchorNonce, "anchor.nonce", Stage::Bind,
            "the anchor's statement was not made for this nonce and launch"},
    CodeRow{Code::AnchorOtherVm, "anchor.other-vm", Stage::Bind,
            "the anchor's statement is about another vTPM"},
    CodeRow{Code::AnchorNotRunning, "anchor.not-running", Stage::Appraise, "the vTPM is not running"},
    CodeRow{Code::AnchorGap, "anchor.gap", Stage::Appraise,
            "after a power cut nobody could prove which state of the vTPM was the newest"},
    CodeRow{Code::AnchorReanchored, "anchor.reanchored", Stage::Appraise,
            "an older state of the vTPM was taken in place of the newest"},
};

consteval bool in_order() {
    for (std::size_t i = 0; i < kRows.size(); ++i) {
        if (static_cast<std::size_t>(kRows[i].code) != i) return false;
    }
    return kRows.size() == static_cast<std::size_t>(Code::Count_);
}
static_assert(in_order(), "each code has its row, in the order of the enum");

}  // namespace

std::span<const CodeRow> code_table() noexcept { return kRows; }

const CodeRow& row_of(Code code) noexcept {
    const auto index = static_cast<std::size_t>(code);
    check(index < kRows.size(), "row of a code that there is not");
    return kRows[index];
}

void Findings::add(Code code, std::string_view detail) {
    const Stage stage = row_of(code).stage;
    if (stage != Stage::Note) accepted_ = false;
    if (stage != Stage::Note && stage != Stage::Appraise) authentic_ = false;
    if (findings_.size() == kMostFindings) {
        ++left_out_;
        return;
    }
    std::string text{detail.substr(0, kLongestDetail)};
    std::ranges::replace_if(text, [](char c) { return c < ' ' || c > '~'; }, '?');
    findings_.push_back({code, std::move(text)});
}

void Findings::append(const Findings& more) {
    for (const Finding& finding : more.findings_) add(finding.code, finding.detail);
    left_out_ += more.left_out_;
    authentic_ = authentic_ && more.authentic_;
    accepted_ = accepted_ && more.accepted_;
}

bool Findings::has(Code code) const noexcept {
    return std::ranges::find(findings_, code, &Finding::code) != findings_.end();
}

bool Findings::is_authentic() const noexcept { return authentic_; }
bool Findings::is_accepted() const noexcept { return accepted_; }

}  // namespace holdfast::attest
