// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/esys.hpp"

#include <algorithm>
#include <cstring>

#include <tss2/tss2_mu.h>

#include "sys/log.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr TPMT_SYM_DEF kAes128Cfb{
    .algorithm = TPM2_ALG_AES, .keyBits = {.aes = 128}, .mode = {.aes = TPM2_ALG_CFB}};

// PolicySecret(TPM_RH_ENDORSEMENT): TCG EK Credential Profile 2.5, B.3.
constexpr std::array<std::uint8_t, 32> kEkPolicy{
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};

TPM2B_PUBLIC ecc_template(TPMA_OBJECT attributes) {
    TPM2B_PUBLIC in{};
    in.publicArea.type = TPM2_ALG_ECC;
    in.publicArea.nameAlg = TPM2_ALG_SHA256;
    in.publicArea.objectAttributes = attributes;
    auto& ecc = in.publicArea.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = TPM2_ALG_NULL;
    ecc.curveID = TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
    return in;
}

constexpr TPMT_SYM_DEF_OBJECT kStorageCipher{
    .algorithm = TPM2_ALG_AES, .keyBits = {.aes = 128}, .mode = {.aes = TPM2_ALG_CFB}};

TPM2B_PUBLIC ecc_storage(TPMA_OBJECT attributes) {
    TPM2B_PUBLIC in = ecc_template(attributes);
    in.publicArea.parameters.eccDetail.symmetric = kStorageCipher;
    in.publicArea.unique.ecc.x.size = in.publicArea.unique.ecc.y.size = 32;
    return in;
}

TPM2B_PUBLIC rsa_storage(TPMA_OBJECT attributes) {
    TPM2B_PUBLIC in{};
    in.publicArea.type = TPM2_ALG_RSA;
    in.publicArea.nameAlg = TPM2_ALG_SHA256;
    in.publicArea.objectAttributes = attributes;
    auto& rsa = in.publicArea.parameters.rsaDetail;
    rsa.symmetric = kStorageCipher;
    rsa.scheme.scheme = TPM2_ALG_NULL;
    rsa.keyBits = 2048;
    in.publicArea.unique.rsa.size = 256;
    return in;
}

TPML_PCR_SELECTION selection_of(std::uint32_t pcrs) {
    TPML_PCR_SELECTION selection{};
    selection.count = 1;
    auto& bank = selection.pcrSelections[0];
    bank.hash = TPM2_ALG_SHA256;
    bank.sizeofSelect = 3;
    for (std::size_t i = 0; i < 3; ++i) bank.pcrSelect[i] = static_cast<BYTE>(pcrs >> (8 * i));
    return selection;
}

TpmResult<ObjectBlob> blob_of(const TPM2B_PUBLIC& pub, const TPM2B_PRIVATE& priv) {
    std::array<std::uint8_t, sizeof(TPM2B_PUBLIC) + sizeof(TPM2B_PRIVATE)> buffer{};
    const auto bytes = [&](std::size_t size) {
        const auto all = std::as_bytes(std::span{buffer}).first(size);
        return Bytes{all.begin(), all.end()};
    };
    std::size_t at = 0;
    HF_TPM(Tss2_MU_TPM2B_PUBLIC_Marshal(&pub, buffer.data(), buffer.size(), &at), "marshal a public area");
    ObjectBlob blob{.public_part = bytes(at), .private_part = {}};
    at = 0;
    HF_TPM(Tss2_MU_TPM2B_PRIVATE_Marshal(&priv, buffer.data(), buffer.size(), &at), "marshal a private area");
    blob.private_part = bytes(at);
    return blob;
}

const std::uint8_t* octets(const Bytes& bytes) {
    return reinterpret_cast<const std::uint8_t*>(bytes.data());  // SAFETY: may alias anything
}

}  // namespace

bool TpmError::is_wrong_auth() const noexcept {
    const TSS2_RC base = code & (TPM2_RC_FMT1 | 0x3f);
    return (code & TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER && (code & TPM2_RC_FMT1) != 0 &&
           (base == TPM2_RC_AUTH_FAIL || base == TPM2_RC_BAD_AUTH);
}

bool TpmError::is_missing_handle() const noexcept {
    return (code & TSS2_RC_LAYER_MASK) == TSS2_TPM_RC_LAYER &&
           (code & (TPM2_RC_FMT1 | 0x3f)) == TPM2_RC_HANDLE;
}

bool TpmError::is_forged() const noexcept {
    return code == TSS2_ESYS_RC_RSP_AUTH_FAILED || code == TSS2_ESYS_RC_MALFORMED_RESPONSE;
}

Error TpmError::error() const noexcept {
    log::error("tpm.failed", {{"doing", what}, log::Field::hex("code", code)});
    return {is_forged() ? Fault::Peer : Fault::Os, 0, what};
}

TPM2B_AUTH auth_of(std::span<const std::byte> bytes) {
    TPM2B_AUTH auth{};
    check(bytes.size() <= sizeof auth.buffer, "authValue is too long");
    auth.size = static_cast<UINT16>(bytes.size());
    std::memcpy(auth.buffer, bytes.data(), bytes.size());
    return auth;
}

TpmResult<std::unique_ptr<Esys>> Esys::create(UniqueFd fd) {
    std::unique_ptr<Esys> esys{new Esys{std::move(fd)}};
    HF_TPM(Esys_Initialize(&esys->context_, esys->link_.context(), nullptr), "start tpm2-tss");
    return esys;
}

Esys::~Esys() { Esys_Finalize(&context_); }

void Esys::flush(ESYS_TR object) noexcept {
    // Best effort: a TPM that does not answer has nothing to be flushed from.
    if (object != ESYS_TR_NONE) static_cast<void>(Esys_FlushContext(context_, object));
}

TpmResult<void> Esys::flush_leftovers() {
    for (const TPM2_HANDLE first :
         {TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST, TPM2_ACTIVE_SESSION_FIRST}) {
        TPMI_YES_NO more = 0;
        TPMS_CAPABILITY_DATA* raw = nullptr;
        HF_TPM(Esys_GetCapability(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                                  TPM2_MAX_CAP_HANDLES, &more, &raw),
               "ask what is loaded in the TPM");
        const EsysPtr<TPMS_CAPABILITY_DATA> data{raw};
        const TPML_HANDLE& handles = data->data.handles;
        for (std::uint32_t i = 0; i < handles.count && i < TPM2_MAX_CAP_HANDLES; ++i) {
            ESYS_TR object = ESYS_TR_NONE;
            HF_TPM(Esys_TR_FromTPMPublic(context_, handles.handle[i], ESYS_TR_NONE, ESYS_TR_NONE,
                                         ESYS_TR_NONE, &object),
                   "look at what is loaded in the TPM");
            HF_TPM(Esys_FlushContext(context_, object), "flush what is loaded in the TPM");
        }
    }
    return {};
}

TpmResult<Bytes> Esys::name_of(ESYS_TR object) {
    TPM2B_NAME* raw = nullptr;
    HF_TPM(Esys_TR_GetName(context_, object, &raw), "name a TPM object");
    const EsysPtr<TPM2B_NAME> name{raw};
    const auto bytes = std::as_bytes(std::span{name->name}).first(name->size);
    return Bytes{bytes.begin(), bytes.end()};
}

TpmResult<std::uint64_t> Esys::orderly_count() {
    TPMI_YES_NO more = 0;
    TPMS_CAPABILITY_DATA* raw = nullptr;
    HF_TPM(Esys_GetCapability(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES,
                              TPM2_PT_ORDERLY_COUNT, 1, &more, &raw),
           "ask for TPM_PT_ORDERLY_COUNT");
    const EsysPtr<TPMS_CAPABILITY_DATA> data{raw};
    const auto& properties = data->data.tpmProperties;
    if (properties.count != 1 || properties.tpmProperty[0].property != TPM2_PT_ORDERLY_COUNT) {
        return std::unexpected{TpmError{0, "the TPM does not tell TPM_PT_ORDERLY_COUNT"}};
    }
    return properties.tpmProperty[0].value;
}

TpmResult<EkKind> Esys::certified_ek() {
    const bool p256 = HF_TPM_TRY(has_index(certificate_index(EkKind::P256)));
    const bool rsa = HF_TPM_TRY(has_index(certificate_index(EkKind::Rsa2048)));
    return rsa && !p256 ? EkKind::Rsa2048 : EkKind::P256;
}

TpmResult<ESYS_TR> Esys::make_ek(EkKind kind) {
    constexpr TPMA_OBJECT kAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                        TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_ADMINWITHPOLICY |
                                        TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT;
    TPM2B_PUBLIC in = kind == EkKind::P256 ? ecc_storage(kAttributes) : rsa_storage(kAttributes);
    in.publicArea.authPolicy.size = kEkPolicy.size();
    std::ranges::copy(kEkPolicy, in.publicArea.authPolicy.buffer);
    const TPM2B_SENSITIVE_CREATE sensitive{};
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION pcrs{};
    ESYS_TR handle = ESYS_TR_NONE;
    HF_TPM(Esys_CreatePrimary(context_, ESYS_TR_RH_ENDORSEMENT, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE,
                              &sensitive, &in, &outside, &pcrs, &handle, nullptr, nullptr, nullptr, nullptr),
           "make the endorsement key");
    return handle;
}

TpmResult<ESYS_TR> Esys::make_storage_key(ESYS_TR hierarchy) {
    const TPM2B_PUBLIC in = ecc_storage(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                        TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                        TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT);
    const TPM2B_SENSITIVE_CREATE sensitive{};
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION pcrs{};
    ESYS_TR handle = ESYS_TR_NONE;
    HF_TPM(Esys_CreatePrimary(context_, hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive,
                              &in, &outside, &pcrs, &handle, nullptr, nullptr, nullptr, nullptr),
           "make the storage key");
    return handle;
}

TpmResult<ESYS_TR> Esys::start_session(TPM2_SE kind, ESYS_TR ek) {
    ESYS_TR session = ESYS_TR_NONE;
    HF_TPM(Esys_StartAuthSession(context_, ek, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                 nullptr, kind, &kAes128Cfb, TPM2_ALG_SHA256, &session),
           "start a TPM session");
    HF_TPM(Esys_TRSess_SetAttributes(context_, session, TPMA_SESSION_CONTINUESESSION, 0xff),
           "set up a TPM session");
    return session;
}

TpmResult<ObjectBlob> Esys::make_under(ESYS_TR parent, ESYS_TR session, TPM2B_SENSITIVE_CREATE& sensitive,
                                       const TPM2B_PUBLIC& in, const char* doing) {
    const TPM2B_DATA outside{};
    const TPML_PCR_SELECTION pcrs{};
    TPM2B_PUBLIC* pub = nullptr;
    TPM2B_PRIVATE* priv = nullptr;
    Esys_TRSess_SetAttributes(context_, session, TPMA_SESSION_DECRYPT, TPMA_SESSION_DECRYPT);
    const TSS2_RC rc = Esys_Create(context_, parent, session, ESYS_TR_NONE, ESYS_TR_NONE, &sensitive, &in,
                                   &outside, &pcrs, &priv, &pub, nullptr, nullptr, nullptr);
    Esys_TRSess_SetAttributes(context_, session, 0, TPMA_SESSION_DECRYPT);
    wipe(std::as_writable_bytes(std::span{&sensitive, 1}));
    HF_TPM(rc, doing);
    const EsysPtr<TPM2B_PUBLIC> free_public{pub};
    const EsysPtr<TPM2B_PRIVATE> free_private{priv};
    return blob_of(*pub, *priv);
}

TpmResult<ObjectBlob> Esys::seal(ESYS_TR parent, ESYS_TR session, std::span<const std::byte> secret,
                                 const Digest& policy) {
    TPM2B_PUBLIC in{};
    in.publicArea.type = TPM2_ALG_KEYEDHASH;
    in.publicArea.nameAlg = TPM2_ALG_SHA256;
    // No USERWITHAUTH: the policy is the only way.
    in.publicArea.objectAttributes = TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | TPMA_OBJECT_NODA;
    in.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
    in.publicArea.authPolicy.size = sizeof policy;
    std::memcpy(in.publicArea.authPolicy.buffer, policy.data(), policy.size());
    TPM2B_SENSITIVE_CREATE sensitive{};
    check(secret.size() <= sizeof sensitive.sensitive.data.buffer, "secret is too long to seal");
    sensitive.sensitive.data.size = static_cast<UINT16>(secret.size());
    std::memcpy(sensitive.sensitive.data.buffer, secret.data(), secret.size());
    return make_under(parent, session, sensitive, in, "seal the anchor's key");
}

TpmResult<ESYS_TR> Esys::load(ESYS_TR parent, ESYS_TR session, const ObjectBlob& blob) {
    TPM2B_PUBLIC pub{};
    TPM2B_PRIVATE priv{};
    std::size_t at = 0;
    HF_TPM(Tss2_MU_TPM2B_PUBLIC_Unmarshal(octets(blob.public_part), blob.public_part.size(), &at, &pub),
           "read a public area");
    at = 0;
    HF_TPM(Tss2_MU_TPM2B_PRIVATE_Unmarshal(octets(blob.private_part), blob.private_part.size(), &at, &priv),
           "read a private area");
    ESYS_TR object = ESYS_TR_NONE;
    HF_TPM(Esys_Load(context_, parent, session, ESYS_TR_NONE, ESYS_TR_NONE, &priv, &pub, &object),
           "load a TPM key");
    return object;
}

TpmResult<void> Esys::state_pcrs(ESYS_TR session, std::uint32_t pcrs) {
    const auto selection = selection_of(pcrs);
    HF_TPM(Esys_PolicyPCR(context_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr, &selection),
           "state the PCRs");
    return {};
}

TpmResult<Digest> Esys::policy_of(ESYS_TR session) {
    TPM2B_DIGEST* raw = nullptr;
    HF_TPM(Esys_PolicyGetDigest(context_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &raw),
           "compute the policy");
    const EsysPtr<TPM2B_DIGEST> digest{raw};
    Digest policy{};
    if (digest->size != policy.size()) return std::unexpected{TpmError{0, "policy of another size"}};
    std::memcpy(policy.data(), digest->buffer, policy.size());
    return policy;
}

/// The session's policy, which is that of the PCRs as they are, becomes that of whoever signed it.
TpmResult<void> Esys::state_approval(ESYS_TR session, const SealPolicy& policy,
                                     const TPMT_SIGNATURE& approval) {
    const auto tpm2b = [](std::span<const std::byte> bytes) {
        TPM2B_DIGEST out{.size = static_cast<UINT16>(bytes.size()), .buffer = {}};
        std::memcpy(out.buffer, bytes.data(), bytes.size());
        return out;
    };
    const Digest now = HF_TPM_TRY(policy_of(session));
    const TPM2B_PUBLIC key = public_of(policy.update_key);
    ESYS_TR object = ESYS_TR_NONE;
    HF_TPM(Esys_LoadExternal(context_, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr, &key,
                             ESYS_TR_RH_OWNER, &object),
           "load the update key");
    const TPM2B_DIGEST approved = tpm2b(now);
    const TPM2B_DIGEST signed_hash = tpm2b(sha256({now}));
    TPMT_TK_VERIFIED* raw = nullptr;
    const TSS2_RC verified = Esys_VerifySignature(context_, object, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                                  &signed_hash, &approval, &raw);
    flush(object);
    HF_TPM(verified, "verify the approval of these PCRs");
    const EsysPtr<TPMT_TK_VERIFIED> ticket{raw};
    const Bytes name = update_key_name(policy.update_key);
    TPM2B_NAME signer{.size = static_cast<UINT16>(name.size()), .name = {}};
    std::memcpy(signer.name, name.data(), name.size());
    const TPM2B_NONCE no_reference{};
    HF_TPM(Esys_PolicyAuthorize(context_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &approved,
                                &no_reference, &signer, ticket.get()),
           "state the approval of these PCRs");
    return {};
}

TpmResult<void> Esys::state_policy(ESYS_TR session, const SealPolicy& policy,
                                   const TPMT_SIGNATURE* approval) {
    HF_TPM_TRY(state_pcrs(session, policy.pcrs));
    if (approval != nullptr) HF_TPM_TRY(state_approval(session, policy, *approval));
    if (policy.update_key.empty()) return {};
    TPML_DIGEST branches{.count = 2, .digests = {}};
    for (UINT32 i = 0; i < branches.count; ++i) {
        const Digest branch = i == 0 ? policy.by_pcrs : policy.by_approval();
        branches.digests[i].size = branch.size();
        std::memcpy(branches.digests[i].buffer, branch.data(), branch.size());
    }
    HF_TPM(Esys_PolicyOR(context_, session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &branches),
           "match the PCRs");
    return {};
}

TpmResult<void> Esys::unseal(ESYS_TR parent, ESYS_TR ek, const ObjectBlob& blob, const SealPolicy& policy,
                             const TPMT_SIGNATURE* approval, std::span<std::byte> out) {
    const ESYS_TR session = HF_TPM_TRY(start_session(TPM2_SE_POLICY, ek));
    if (const auto stated = state_policy(session, policy, approval); !stated) {
        flush(session);
        return stated;
    }
    // After the update key has gone: a TPM need not have room for four objects.
    const auto object = load(parent, ESYS_TR_PASSWORD, blob);
    if (!object) {
        flush(session);
        return std::unexpected{object.error()};
    }
    // The secret crosses the bus encrypted, to whoever holds the salt.
    Esys_TRSess_SetAttributes(context_, session, TPMA_SESSION_ENCRYPT, TPMA_SESSION_ENCRYPT);
    TPM2B_SENSITIVE_DATA* raw = nullptr;
    const TSS2_RC unsealed = Esys_Unseal(context_, *object, session, ESYS_TR_NONE, ESYS_TR_NONE, &raw);
    flush(session);
    flush(*object);
    HF_TPM(unsealed, "unseal the anchor's key");
    const EsysPtr<TPM2B_SENSITIVE_DATA> data{raw};
    const bool fits = data->size == out.size();
    if (fits) std::memcpy(out.data(), data->buffer, out.size());
    wipe(std::as_writable_bytes(std::span{data->buffer}));
    if (!fits) return std::unexpected{TpmError{0, "the sealed key has another size"}};
    return {};
}

TpmResult<Digest> Esys::pcr_policy(ESYS_TR ek, std::uint32_t pcrs) {
    const ESYS_TR session = HF_TPM_TRY(start_session(TPM2_SE_TRIAL, ek));
    HF_TPM_TRY(state_pcrs(session, pcrs));
    const Digest policy = HF_TPM_TRY(policy_of(session));
    flush(session);
    return policy;
}

TpmResult<ObjectBlob> Esys::make_attestation_key(ESYS_TR parent, ESYS_TR session,
                                                 std::span<const std::byte> auth) {
    TPM2B_PUBLIC in = ecc_template(TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                   TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                   TPMA_OBJECT_NODA | TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_SIGN_ENCRYPT);
    auto& scheme = in.publicArea.parameters.eccDetail.scheme;
    scheme.scheme = TPM2_ALG_ECDSA;
    scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    TPM2B_SENSITIVE_CREATE sensitive{};
    sensitive.sensitive.userAuth = auth_of(auth);
    return make_under(parent, session, sensitive, in, "make the attestation key");
}

}  // namespace holdfast::anchor
