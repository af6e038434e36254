// SPDX-License-Identifier: Apache-2.0
// The calls of tpm2-tss's ESAPI (TCG TSS 2.0 Enhanced System API 1.0 revision 14) that the anchor makes,
// with owners for what they return.
#pragma once

#include <memory>
#include <optional>

#include <tss2/tss2_esys.h>

#include "sys/free_with.hpp"
#include "vtpm/anchor/key_file.hpp"
#include "vtpm/anchor/seal_policy.hpp"
#include "vtpm/anchor/tcti.hpp"
#include "vtpm/anchor/witness.hpp"

namespace holdfast::anchor {

/// What a TPM or tpm2-tss answered instead of success.
struct TpmError {
    TSS2_RC code = 0;
    const char* what = "";
    [[nodiscard]] bool is_wrong_auth() const noexcept;
    [[nodiscard]] bool is_missing_handle() const noexcept;
    /// The TPM itself declined, as opposed to what lies in between.
    [[nodiscard]] bool is_of_tpm() const noexcept { return (code & TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER; }
    /// The answer's HMAC is not the TPM's.
    [[nodiscard]] bool is_forged() const noexcept;
    [[nodiscard]] Error error() const noexcept;
};
template <typename T>
using TpmResult = std::expected<T, TpmError>;

template <typename T>
using EsysPtr = std::unique_ptr<T, FreeWith<Esys_Free>>;

/// TCG EK Credential Profile 2.5: templates L-2 and L-1.
enum class EkKind : std::uint8_t { P256, Rsa2048 };
/// Where its maker leaves its certificate: §2.2.1.4.
[[nodiscard]] constexpr TPM2_HANDLE certificate_index(EkKind kind) noexcept {
    return kind == EkKind::P256 ? 0x01c0000a : 0x01c00002;
}

struct ObjectBlob {
    Bytes public_part;
    Bytes private_part;
};

class Esys {
public:
    static TpmResult<std::unique_ptr<Esys>> create(UniqueFd fd);
    Esys(const Esys&) = delete;
    Esys& operator=(const Esys&) = delete;
    ~Esys();

    [[nodiscard]] ESYS_CONTEXT* get() noexcept { return context_; }
    void flush(ESYS_TR object) noexcept;
    /// What an anchor that was killed has left loaded in a TPM without a resource manager, where it would
    /// be in the next one's way. Behind /dev/tpmrm0 there is nothing to be seen.
    TpmResult<void> flush_leftovers();
    TpmResult<Bytes> name_of(ESYS_TR object);
    /// Which bits of an ORDERLY counter a power cut sets (TPM_PT_ORDERLY_COUNT).
    TpmResult<std::uint64_t> orderly_count();
    /// Of the SHA-256 and SHA-384 banks that the TPM keeps; `pcrs`: bit i is PCR i.
    TpmResult<TPML_PCR_SELECTION> select_pcrs(std::uint32_t pcrs);
    TpmResult<std::vector<QuotedBank>> read_pcrs(const TPML_PCR_SELECTION& selection);

    /// The one that the TPM's maker has certified: the RSA key if only that one is, else the P-256 key.
    TpmResult<EkKind> certified_ek();
    /// Deterministic.
    TpmResult<ESYS_TR> make_ek(EkKind kind);
    /// A storage key (TCG TPM v2.0 Provisioning Guidance 1.0, ECC SRK) in either hierarchy.
    TpmResult<ESYS_TR> make_storage_key(ESYS_TR hierarchy);
    /// HMAC or policy session, salted to `ek`; parameters can be encrypted with AES-128-CFB.
    TpmResult<ESYS_TR> start_session(TPM2_SE kind, ESYS_TR ek);

    TpmResult<ObjectBlob> seal(ESYS_TR parent, ESYS_TR session, std::span<const std::byte> secret,
                               const Digest& policy);
    /// Into `out`, which is as long as the secret. With `approval`, a signature of the update key over the
    /// PCR policy as it is now, else with PCRs as they were.
    TpmResult<void> unseal(ESYS_TR parent, ESYS_TR ek, const ObjectBlob& blob, const SealPolicy& policy,
                           const TPMT_SIGNATURE* approval, std::span<std::byte> out);
    TpmResult<Digest> pcr_policy(ESYS_TR ek, std::uint32_t pcrs);

    /// TPM2B_PUBLIC.
    TpmResult<Bytes> read_public(ESYS_TR object);
    TpmResult<bool> has_index(TPM2_HANDLE index);
    /// Of an NV index that anybody may read; empty: there is none.
    TpmResult<Bytes> read_index(TPM2_HANDLE index);
    /// What is in the challenge, if it was made for this key and this `ek`. `session`: HMAC, for the key's
    /// authValue.
    TpmResult<Bytes> activate(ESYS_TR key, ESYS_TR session, ESYS_TR ek, const Challenge& challenge);

    TpmResult<ObjectBlob> make_attestation_key(ESYS_TR parent, ESYS_TR session,
                                               std::span<const std::byte> auth);
    TpmResult<ESYS_TR> load(ESYS_TR parent, ESYS_TR session, const ObjectBlob& blob);

private:
    /// An object that `sensitive`, which is wiped, and `in` describe. `doing`: what it is for, in words.
    TpmResult<ObjectBlob> make_under(ESYS_TR parent, ESYS_TR session, TPM2B_SENSITIVE_CREATE& sensitive,
                                     const TPM2B_PUBLIC& in, const char* doing);
    TpmResult<void> state_pcrs(ESYS_TR session, std::uint32_t pcrs);
    TpmResult<Digest> policy_of(ESYS_TR session);
    TpmResult<void> state_policy(ESYS_TR session, const SealPolicy& policy, const TPMT_SIGNATURE* approval);
    TpmResult<void> state_approval(ESYS_TR session, const SealPolicy& policy, const TPMT_SIGNATURE& approval);
    explicit Esys(UniqueFd fd) noexcept : link_{std::move(fd)} {}
    TpmLink link_;
    ESYS_CONTEXT* context_ = nullptr;
};

/// As the TPM marshals them.
[[nodiscard]] TpmResult<Certified> certified_of(const TPM2B_ATTEST& attest, const TPMT_SIGNATURE& signature);

[[nodiscard]] TPM2B_AUTH auth_of(std::span<const std::byte> bytes);

#define HF_TPM(call, words)                                                        \
    do {                                                                           \
        if (const TSS2_RC hf_rc_ = (call); hf_rc_ != TSS2_RC_SUCCESS)              \
            return std::unexpected{::holdfast::anchor::TpmError{hf_rc_, (words)}}; \
    } while (false)
#define HF_TPM_TRY(...)                                              \
    __extension__({                                                  \
        auto hf_result_ = (__VA_ARGS__);                             \
        if (!hf_result_) return std::unexpected{hf_result_.error()}; \
        ::holdfast::detail::take(hf_result_);                        \
    })

}  // namespace holdfast::anchor
