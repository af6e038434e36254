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
    // Certificates
    CodeRow{Code::CertMalformed, "cert.malformed", Stage::Parse, "a certificate is malformed"},
    CodeRow{Code::CertUntrusted, "cert.untrusted", Stage::Authenticate, "a chain of certificates does not end in a trusted root"},
    CodeRow{Code::CertSignature, "cert.signature", Stage::Authenticate, "a certificate is not signed by its issuer"},
    CodeRow{Code::CertExpired, "cert.expired", Stage::Authenticate, "a certificate has expired"},
    CodeRow{Code::CertNotYetValid, "cert.not-yet-valid", Stage::Authenticate, "a certificate is not valid yet"},
    CodeRow{Code::CertConstraints, "cert.constraints", Stage::Authenticate, "a certificate is used for what it was not issued for"},
    CodeRow{Code::CertRevoked, "cert.revoked", Stage::Authenticate, "a certificate has been revoked"},
    CodeRow{Code::CertCrlStale, "cert.crl-stale", Stage::Appraise, "a revocation list is not of this time"},
    CodeRow{Code::CertCrlInvalid, "cert.crl-invalid", Stage::Appraise, "a revocation list is not by the issuer that it names"},
    CodeRow{Code::CertCrlMissing, "cert.crl-missing", Stage::Appraise, "a revocation list is demanded and not there"},
    CodeRow{Code::CertNoCrl, "cert.no-crl", Stage::Note, "whether a certificate has been revoked is not known"},

    // SEV-SNP

    // TDX

    // Azure HCL
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
