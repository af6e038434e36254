// SPDX-License-Identifier: Apache-2.0
// What the host booted, as its TPM states it: TPM2_Quote by the attestation key (TPM 2.0 Library 1.59, Part 3
// §18.4) of the SHA-256 and SHA-384 banks.
#include <algorithm>
#include <cstring>

#include <tss2/tss2_mu.h>

#include "vtpm/anchor/hash.hpp"
#include "vtpm/anchor/host_tpm.hpp"

namespace holdfast::anchor {
namespace {

// The firmware's PCRs 0-7, a boot loader's 8-9 (IMA's boot aggregate sums up all ten), IMA's 10, a dynamic
// launch's 17-22. Not 16 and 23: anybody resets those.
constexpr std::uint32_t kQuoted = 0x7e'07ff;
constexpr std::size_t kSelectBytes = 3;
// IMA may extend PCR 10 between reading and quoting.
constexpr int kTries = 8;

std::uint32_t mask_of(const TPMS_PCR_SELECTION& bank) {
    std::uint32_t pcrs = 0;
    for (std::size_t i = 0; i < std::min<std::size_t>(bank.sizeofSelect, kSelectBytes); ++i) {
        pcrs |= std::uint32_t{bank.pcrSelect[i]} << (8 * i);
    }
    return pcrs;
}

void set_mask(TPMS_PCR_SELECTION& bank, std::uint32_t pcrs) {
    bank.sizeofSelect = kSelectBytes;
    for (std::size_t i = 0; i < kSelectBytes; ++i) bank.pcrSelect[i] = static_cast<BYTE>(pcrs >> (8 * i));
}

Digest digest_of(const std::vector<QuotedBank>& banks) {
    std::vector<std::byte> all;
    for (const QuotedBank& bank : banks) all.insert(all.end(), bank.values.begin(), bank.values.end());
    return sha256({all});
}

/// The digest in a TPMS_ATTEST that we had made ourselves.
bool states(const Certified& quote, const Digest& pcrs) {
    TPMS_ATTEST attest{};
    std::size_t at = 0;
    // SAFETY: std::byte may alias anything.
    const auto* const raw = reinterpret_cast<const std::uint8_t*>(quote.attest.data());
    if (Tss2_MU_TPMS_ATTEST_Unmarshal(raw, quote.attest.size(), &at, &attest) != TSS2_RC_SUCCESS)
        return false;
    const auto& digest = attest.attested.quote.pcrDigest;
    return attest.type == TPM2_ST_ATTEST_QUOTE && digest.size == pcrs.size() &&
           std::memcmp(digest.buffer, pcrs.data(), pcrs.size()) == 0;
}

}  // namespace

TpmResult<Certified> certified_of(const TPM2B_ATTEST& attest, const TPMT_SIGNATURE& signature) {
    const auto raw = std::as_bytes(std::span{attest.attestationData}).first(attest.size);
    std::array<std::uint8_t, sizeof(TPMT_SIGNATURE)> buffer{};
    std::size_t size = 0;
    HF_TPM(Tss2_MU_TPMT_SIGNATURE_Marshal(&signature, buffer.data(), buffer.size(), &size),
           "marshal a signature");
    const auto signed_bytes = std::as_bytes(std::span{buffer}).first(size);
    return Certified{.attest = {raw.begin(), raw.end()},
                     .signature = {signed_bytes.begin(), signed_bytes.end()}};
}

TpmResult<TPML_PCR_SELECTION> Esys::select_pcrs(std::uint32_t pcrs) {
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* raw = nullptr;
    HF_TPM(Esys_GetCapability(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_PCRS, 0, 1, &more,
                              &raw),
           "ask for the banks of PCRs");
    const EsysPtr<TPMS_CAPABILITY_DATA> data{raw};
    const TPML_PCR_SELECTION& assigned = data->data.assignedPCR;
    TPML_PCR_SELECTION selection{};
    for (const TPMI_ALG_HASH alg : {TPM2_ALG_SHA256, TPM2_ALG_SHA384}) {
        for (std::uint32_t i = 0; i < std::min<std::uint32_t>(assigned.count, TPM2_NUM_PCR_BANKS); ++i) {
            const std::uint32_t kept = mask_of(assigned.pcrSelections[i]) & pcrs;
            if (assigned.pcrSelections[i].hash != alg || kept == 0) continue;
            TPMS_PCR_SELECTION& bank = selection.pcrSelections[selection.count++];
            bank.hash = alg;
            set_mask(bank, kept);
            break;
        }
    }
    return selection;
}

/// A TPM answers with eight values at most, and with the selection of those that it gave.
TpmResult<std::vector<QuotedBank>> Esys::read_pcrs(const TPML_PCR_SELECTION& selection) {
    std::vector<QuotedBank> banks;
    for (std::uint32_t i = 0; i < selection.count; ++i) {
        QuotedBank& bank = banks.emplace_back(
            QuotedBank{.alg = selection.pcrSelections[i].hash, .pcrs = mask_of(selection.pcrSelections[i])});
        for (std::uint32_t left = bank.pcrs; left != 0;) {
            TPML_PCR_SELECTION in{.count = 1, .pcrSelections = {selection.pcrSelections[i]}};
            set_mask(in.pcrSelections[0], left);
            TPML_PCR_SELECTION* given = nullptr;
            TPML_DIGEST* values = nullptr;
            HF_TPM(Esys_PCR_Read(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &in, nullptr, &given,
                                 &values),
                   "read PCRs");
            const EsysPtr<TPML_PCR_SELECTION> free_given{given};
            const EsysPtr<TPML_DIGEST> free_values{values};
            const std::uint32_t got = given->count == 1 ? mask_of(given->pcrSelections[0]) & left : 0;
            if (got == 0) return std::unexpected{TpmError{0, "the TPM does not give a PCR"}};
            for (std::uint32_t n = 0; n < values->count; ++n) {
                const auto value = std::as_bytes(std::span{values->digests[n].buffer});
                bank.values.insert(bank.values.end(), value.begin(), value.begin() + values->digests[n].size);
            }
            left &= ~got;
        }
    }
    return banks;
}

TpmResult<Certified> HostTpm::quote(const TPML_PCR_SELECTION& pcrs, const TPM2B_DATA& about) {
    TPMT_SIG_SCHEME scheme{};
    scheme.scheme = TPM2_ALG_NULL;  // the key's own
    TPM2B_ATTEST* attest = nullptr;
    TPMT_SIGNATURE* signature = nullptr;
    HF_TPM(Esys_Quote(esys_->get(), attestation_, second_, ESYS_TR_NONE, ESYS_TR_NONE, &about, &scheme, &pcrs,
                      &attest, &signature),
           "quote the PCRs");
    const EsysPtr<TPM2B_ATTEST> free_attest{attest};
    const EsysPtr<TPMT_SIGNATURE> free_signature{signature};
    return certified_of(*attest, *signature);
}

Result<HostQuote> HostTpm::quote(const Digest& about) {
    TPM2B_DATA data{};
    data.size = sizeof about;
    std::memcpy(data.buffer, about.data(), about.size());
    const auto selection = esys_->select_pcrs(kQuoted);
    if (!selection) return selection.error().error();
    // In the end with values that do not fit: whoever verifies sees it, and the anchor lives on.
    for (int i = 1;; ++i) {
        auto banks = esys_->read_pcrs(*selection);
        if (!banks) return banks.error().error();
        auto quoted = quote(*selection, data);
        if (!quoted) return quoted.error().error();
        if (i == kTries || states(*quoted, digest_of(*banks)))
            return HostQuote{.quote = std::move(*quoted), .banks = std::move(*banks)};
    }
}

}  // namespace holdfast::anchor
