// SPDX-License-Identifier: Apache-2.0
// Who the host is: its endorsement key with the certificate that the TPM's maker left in it, and
// TPM2_ActivateCredential (TPM 2.0 Library 1.59, Part 3 §12.5), which shows that the attestation key is in
// the same TPM.
#include <algorithm>
#include <cstring>

#include <tss2/tss2_mu.h>

#include "vtpm/anchor/host_tpm.hpp"

namespace holdfast::anchor {
namespace {

constexpr UINT16 kReadBytes = 512;  // every TPM gives so many at once

template <typename Tpm2b>
bool fill(Tpm2b& out, std::span<BYTE> room, const Bytes& bytes) {
    if (bytes.size() > room.size()) return false;
    out.size = static_cast<UINT16>(bytes.size());
    std::memcpy(room.data(), bytes.data(), bytes.size());
    return true;
}

}  // namespace

TpmResult<Bytes> Esys::read_public(ESYS_TR object) {
    TPM2B_PUBLIC* raw = nullptr;
    HF_TPM(
        Esys_ReadPublic(context_, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw, nullptr, nullptr),
        "read a public area");
    const EsysPtr<TPM2B_PUBLIC> area{raw};
    std::array<std::uint8_t, sizeof(TPM2B_PUBLIC)> buffer{};
    std::size_t size = 0;
    HF_TPM(Tss2_MU_TPM2B_PUBLIC_Marshal(area.get(), buffer.data(), buffer.size(), &size),
           "marshal a public area");
    const auto bytes = std::as_bytes(std::span{buffer}).first(size);
    return Bytes{bytes.begin(), bytes.end()};
}

TpmResult<bool> Esys::has_index(TPM2_HANDLE index) {
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC found =
        Esys_TR_FromTPMPublic(context_, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle);
    if (TpmError{found, ""}.is_missing_handle()) return false;
    HF_TPM(found, "find an NV index");
    Esys_TR_Close(context_, &handle);
    return true;
}

TpmResult<Bytes> Esys::read_index(TPM2_HANDLE index) {
    ESYS_TR handle = ESYS_TR_NONE;
    const TSS2_RC found =
        Esys_TR_FromTPMPublic(context_, index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle);
    if (TpmError{found, ""}.is_missing_handle()) return Bytes{};
    HF_TPM(found, "find an NV index");
    TPM2B_NV_PUBLIC* raw = nullptr;
    HF_TPM(Esys_NV_ReadPublic(context_, handle, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw, nullptr),
           "read an NV index's public area");
    const EsysPtr<TPM2B_NV_PUBLIC> area{raw};
    Bytes all;
    while (all.size() < area->nvPublic.dataSize) {
        const auto at = static_cast<UINT16>(all.size());
        const auto wanted = std::min(kReadBytes, static_cast<UINT16>(area->nvPublic.dataSize - at));
        TPM2B_MAX_NV_BUFFER* part = nullptr;
        HF_TPM(Esys_NV_Read(context_, handle, handle, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, wanted,
                            at, &part),
               "read an NV index");
        const EsysPtr<TPM2B_MAX_NV_BUFFER> data{part};
        if (data->size == 0) return std::unexpected{TpmError{0, "an NV index ends too early"}};
        const auto bytes = std::as_bytes(std::span{data->buffer}).first(data->size);
        all.insert(all.end(), bytes.begin(), bytes.end());
    }
    Esys_TR_Close(context_, &handle);
    return all;
}

TpmResult<Bytes> Esys::activate(ESYS_TR key, ESYS_TR session, ESYS_TR ek, const Challenge& challenge) {
    TPM2B_ID_OBJECT credential{};
    TPM2B_ENCRYPTED_SECRET secret{};
    if (!fill(credential, credential.credential, challenge.credential) ||
        !fill(secret, secret.secret, challenge.secret)) {
        return std::unexpected{TpmError{TPM2_RC_SIZE, "read a challenge"}};
    }
    const ESYS_TR policy = HF_TPM_TRY(start_session(TPM2_SE_POLICY, ek));
    // The endorsement key's policy: who may use the endorsement hierarchy (init asks that it has no
    // authValue).
    TSS2_RC rc = Esys_PolicySecret(context_, ESYS_TR_RH_ENDORSEMENT, policy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                   ESYS_TR_NONE, nullptr, nullptr, nullptr, 0, nullptr, nullptr);
    TPM2B_DIGEST* raw = nullptr;
    if (rc == TSS2_RC_SUCCESS) {
        rc = Esys_ActivateCredential(context_, key, ek, session, policy, ESYS_TR_NONE, &credential, &secret,
                                     &raw);
    }
    flush(policy);
    HF_TPM(rc, "activate a credential");
    const EsysPtr<TPM2B_DIGEST> inside{raw};
    const auto bytes = std::as_bytes(std::span{inside->buffer}).first(inside->size);
    return Bytes{bytes.begin(), bytes.end()};
}

Result<HostKeys> HostTpm::host_keys() {
    auto endorsement = esys_->read_public(ek_);
    if (!endorsement) return endorsement.error().error();
    auto certificate = esys_->read_index(certificate_index(ek_kind_));
    if (!certificate) return certificate.error().error();
    return HostKeys{.endorsement = std::move(*endorsement),
                    .certificate = std::move(*certificate),
                    .attestation = keys_.attestation_public};
}

Result<std::optional<Bytes>> HostTpm::activate(const Challenge& challenge) {
    auto inside = esys_->activate(attestation_, second_, ek_, challenge);
    if (inside) return std::optional{std::move(*inside)};
    const Error error = inside.error().error();
    if (inside.error().is_of_tpm()) return std::optional<Bytes>{};
    return error;
}

}  // namespace holdfast::anchor
