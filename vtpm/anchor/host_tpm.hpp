// SPDX-License-Identifier: Apache-2.0
// The host's TPM as the anchor uses it: counters O (ORDERLY: a commit costs no flash write) and S (strict),
// an attestation key, and the master key sealed under PCRs. All commands that count go through HMAC
// sessions salted to the endorsement key that was pinned at init, opened once for a life: a TPM that
// was reset or exchanged ends the anchor.
#pragma once

#include "vtpm/anchor/counters.hpp"
#include "vtpm/anchor/esys.hpp"
#include "vtpm/anchor/witness.hpp"

namespace holdfast::anchor {

/// In the range that the TCG's registry gives to owners (0x01800000 to 0x01bfffff).
inline constexpr TPM2_HANDLE kIndexO = 0x01804860;
inline constexpr TPM2_HANDLE kIndexS = 0x01804861;

class HostTpm final : public Counters, public Witness {
public:
    /// Makes both counters, the keys and the first key file. Whatever had the indices' handles stays: an
    /// Input error. Needs an owner and an endorsement hierarchy without authValues. `update_key`: whose
    /// approval opens the keys under other PCRs (SealPolicy), or nobody's.
    static std::expected<Reading, Refusal> init(UniqueFd tpm, KeyStore& store, std::uint32_t pcrs,
                                                Bytes update_key = {});
    /// Pins the endorsement key, unseals the master key, opens the sessions. With `approval`, a signature in
    /// DER over the PCR policy as it is now, the keys are sealed anew under these PCRs; fence() saves that.
    static std::expected<std::unique_ptr<HostTpm>, Refusal> open(UniqueFd tpm, KeyStore& store,
                                                                 std::span<const std::byte> approval = {});
    ~HostTpm() override;

    std::expected<void, Refusal> fence() override;
    Result<Reading> read() override;
    Result<void> advance_o() override;
    Result<void> advance_s() override;
    Result<Certificate> certify(const Digest& about) override;
    Result<HostQuote> quote(const Digest& about) override;
    Result<HostKeys> host_keys() override;
    Result<std::optional<Bytes>> activate(const Challenge& challenge) override;
    [[nodiscard]] std::uint64_t jump_bits() const noexcept override { return keys_.jump_bits; }

    /// A key of its own for each purpose, derived from the master key.
    Result<SecretBytes> derive(std::string_view purpose, std::span<const std::byte> about = {}) const;
    [[nodiscard]] const KeyFile& keys() const noexcept { return keys_; }

private:
    struct Counter {
        TPM2_HANDLE index;
        ESYS_TR handle = ESYS_TR_NONE;
        const char* words;
    };
    HostTpm(std::unique_ptr<Esys> esys, KeyStore& store, SecretBytes master)
        : esys_{std::move(esys)}, store_{store}, master_{std::move(master)} {}
    TpmResult<void> make_ek(EkKind kind);
    /// The endorsement key that one of the key files was made with; its name, or none: it is another TPM.
    TpmResult<std::optional<Bytes>> find_ek(std::span<const KeyFile> slots);
    std::expected<void, Refusal> unlock(const TPMT_SIGNATURE* approval);
    std::expected<void, Refusal> load_attestation_key();
    TpmResult<void> seal_anew();
    [[nodiscard]] SealPolicy policy() const { return {keys_.pcrs, keys_.by_pcrs, keys_.update_key}; }
    std::expected<void, Refusal> find(Counter& counter, const Bytes& name);
    std::expected<Digest, Refusal> present_auth(const Counter& counter, std::span<const Digest> candidates);
    TpmResult<std::uint64_t> read_counter(const Counter& counter);
    TpmResult<void> change_auth(const Counter& counter, const Digest& next);
    TpmResult<void> define(const Counter& counter, TPMA_NV extra, const Digest& auth);
    TpmResult<Certified> certify(const Counter& counter, const TPM2B_DATA& about);
    TpmResult<Certified> quote(const TPML_PCR_SELECTION& pcrs, const TPM2B_DATA& about);
    Result<void> advance(const Counter& counter);
    Result<void> save(std::span<const Digest> auths);

    std::unique_ptr<Esys> esys_;
    KeyStore& store_;
    SecretBytes master_;
    KeyFile keys_;
    ESYS_TR ek_ = ESYS_TR_NONE;
    EkKind ek_kind_ = EkKind::P256;
    ESYS_TR session_ = ESYS_TR_NONE;  ///< the counters' commands
    ESYS_TR second_ = ESYS_TR_NONE;   ///< beside it: the attestation key's, and audits
    ESYS_TR attestation_ = ESYS_TR_NONE;
    Counter o_{kIndexO, ESYS_TR_NONE, "increment counter O"};
    Counter s_{kIndexS, ESYS_TR_NONE, "increment counter S"};
};

}  // namespace holdfast::anchor
