// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/host_tpm.hpp"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <utility>

#include "sys/wire/endian.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr TPMA_NV kAttributes = TPMA_NV_AUTHREAD | TPMA_NV_AUTHWRITE | TPMA_NV_OWNERREAD | TPMA_NV_NO_DA |
                                (TPM2_NT_COUNTER << TPMA_NV_TPM2_NT_SHIFT);
constexpr std::string_view kAuthsPurpose = "counters' authValues";
constexpr std::size_t kMaxCandidates = 8;

std::unexpected<Refusal> refuse(Refused state, const Error& error = {}) {
    return std::unexpected{Refusal{state, error}};
}

/// PolicyAuthValue and PolicyCommandCode(NV_ChangeAuth), TPM 2.0 part 3: what NV_ChangeAuth's ADMIN role asks
/// for.
TPM2B_DIGEST change_auth_policy() {
    const Be<std::uint32_t> auth_value{TPM2_CC_PolicyAuthValue};
    const Be<std::uint32_t> command_code{TPM2_CC_PolicyCommandCode};
    const Be<std::uint32_t> change_auth{TPM2_CC_NV_ChangeAuth};
    const auto bytes = [](const Be<std::uint32_t>& value) { return std::as_bytes(std::span{&value, 1}); };
    const Digest first = sha256({Digest{}, bytes(auth_value)});
    const Digest policy = sha256({first, bytes(command_code), bytes(change_auth)});
    TPM2B_DIGEST out{};
    out.size = sizeof policy;
    std::memcpy(out.buffer, policy.data(), policy.size());
    return out;
}

Bytes seal_auths(const SecretBytes& master, std::span<const Digest> auths) {
    return seal(master.bytes(), std::as_bytes(std::span{kAuthsPurpose}), std::as_bytes(auths));
}

Result<std::vector<Digest>> open_auths(const SecretBytes& master, const Bytes& sealed) {
    const Bytes plain = HF_TRY(open_sealed(master.bytes(), std::as_bytes(std::span{kAuthsPurpose}), sealed));
    if (plain.size() % sizeof(Digest) != 0 || plain.size() / sizeof(Digest) > kMaxCandidates) {
        return peer_fault("list of authValues has an odd size");
    }
    std::vector<Digest> auths(plain.size() / sizeof(Digest));
    if (!plain.empty()) std::memcpy(auths.data(), plain.data(), plain.size());
    return auths;
}

std::expected<std::unique_ptr<Esys>, Refusal> connect(UniqueFd tpm) {
    auto esys = Esys::create(std::move(tpm));
    if (!esys) return refuse(Refused::TpmUnreachable, esys.error().error());
    if (const auto flushed = (*esys)->flush_leftovers(); !flushed) {
        return refuse(Refused::TpmUnreachable, flushed.error().error());
    }
    return std::move(*esys);
}

Refusal unreachable(const TpmError& error) { return {Refused::TpmUnreachable, error.error()}; }

}  // namespace

HostTpm::~HostTpm() {
    for (const ESYS_TR each : {session_, second_, attestation_, ek_}) esys_->flush(each);
}

Result<SecretBytes> HostTpm::derive(std::string_view purpose, std::span<const std::byte> about) const {
    SecretBytes key = HF_TRY(SecretBytes::create(sizeof(Digest)));
    Digest derived = hmac_sha256(master_.bytes(), {std::as_bytes(std::span{purpose}), about});
    std::ranges::copy(derived, key.bytes().begin());
    wipe(derived);
    return key;
}

// ---- Opening: whose TPM is it, and does it release the keys.

std::expected<std::unique_ptr<HostTpm>, Refusal> HostTpm::open(UniqueFd tpm, KeyStore& store,
                                                               std::span<const std::byte> approval) {
    const auto signature =
        approval.empty() ? Result<TPMT_SIGNATURE>{TPMT_SIGNATURE{}} : signature_of(approval);
    if (!signature) return refuse(Refused::KeysLocked, signature.error());
    auto slots = store.read();
    if (!slots) return refuse(Refused::Disk, slots.error());
    if (slots->empty()) return refuse(Refused::NotInitialized);
    auto esys = connect(std::move(tpm));
    if (!esys) return std::unexpected{esys.error()};
    auto master = SecretBytes::create(sizeof(Digest));
    if (!master) return refuse(Refused::Disk, master.error());
    std::unique_ptr<HostTpm> host{new HostTpm{std::move(*esys), store, std::move(*master)}};

    const auto name = host->find_ek(*slots);
    if (!name) return std::unexpected{unreachable(name.error())};
    if (!*name) return refuse(Refused::TpmSwapped);

    for (std::size_t i = 0; i < slots->size(); ++i) {
        host->keys_ = (*slots)[i];
        if (host->keys_.ek_name != **name) continue;
        const bool approved = !approval.empty() && !host->keys_.update_key.empty();
        if (const auto unlocked = host->unlock(approved ? &*signature : nullptr); !unlocked)
            return std::unexpected{unlocked.error()};
        const auto mac_key = host->derive("key file");
        if (!mac_key || !KeyStore::authenticate(host->keys_, store.mac_of(i), mac_key->bytes())) continue;
        // Before the attestation key is loaded: a TPM need not have room for four objects.
        const auto sealed = approved ? host->seal_anew() : TpmResult<void>{};
        if (!sealed) return std::unexpected{unreachable(sealed.error())};
        if (const auto loaded = host->load_attestation_key(); !loaded) return std::unexpected{loaded.error()};
        return host;
    }
    return refuse(Refused::KeysLocked);
}

TpmResult<void> HostTpm::make_ek(EkKind kind) {
    ek_ = HF_TPM_TRY(esys_->make_ek(kind));
    ek_kind_ = kind;
    return {};
}

TpmResult<std::optional<Bytes>> HostTpm::find_ek(std::span<const KeyFile> slots) {
    // The quick one first: a chip takes seconds to make an RSA key.
    for (const EkKind kind : {EkKind::P256, EkKind::Rsa2048}) {
        HF_TPM_TRY(make_ek(kind));
        Bytes name = HF_TPM_TRY(esys_->name_of(ek_));
        const auto has_it = [&](const KeyFile& each) { return each.ek_name == name; };
        if (std::ranges::any_of(slots, has_it)) return std::optional{std::move(name)};
        esys_->flush(std::exchange(ek_, ESYS_TR_NONE));
    }
    return std::optional<Bytes>{};
}

/// The master key, and the sessions of this life.
std::expected<void, Refusal> HostTpm::unlock(const TPMT_SIGNATURE* approval) {
    const auto storage = esys_->make_storage_key(ESYS_TR_RH_OWNER);
    if (!storage) return std::unexpected{unreachable(storage.error())};
    const auto unsealed = esys_->unseal(*storage, ek_, {keys_.sealed_public, keys_.sealed_private}, policy(),
                                        approval, master_.bytes());
    esys_->flush(*storage);
    if (!unsealed) return refuse(Refused::KeysLocked, unsealed.error().error());

    for (ESYS_TR* each : {&session_, &second_}) {
        if (*each != ESYS_TR_NONE) continue;
        const auto session = esys_->start_session(TPM2_SE_HMAC, ek_);
        if (!session) return std::unexpected{unreachable(session.error())};
        *each = *session;
    }
    return {};
}

std::expected<void, Refusal> HostTpm::load_attestation_key() {
    const auto parent = esys_->make_storage_key(ESYS_TR_RH_ENDORSEMENT);
    if (!parent) return std::unexpected{unreachable(parent.error())};
    const auto key =
        esys_->load(*parent, ESYS_TR_PASSWORD, {keys_.attestation_public, keys_.attestation_private});
    esys_->flush(*parent);
    if (!key) return refuse(Refused::KeysLocked, key.error().error());
    attestation_ = *key;
    const auto auth = derive("attestation key");
    if (!auth) return refuse(Refused::Disk, auth.error());
    TPM2B_AUTH value = auth_of(auth->bytes());
    Esys_TR_SetAuth(esys_->get(), attestation_, &value);
    wipe(std::as_writable_bytes(std::span{&value, 1}));
    return {};
}

/// The master key, under the PCRs as they are.
TpmResult<void> HostTpm::seal_anew() {
    keys_.by_pcrs = HF_TPM_TRY(esys_->pcr_policy(ek_, keys_.pcrs));
    const ESYS_TR storage = HF_TPM_TRY(esys_->make_storage_key(ESYS_TR_RH_OWNER));
    const ObjectBlob sealed = HF_TPM_TRY(esys_->seal(storage, session_, master_.bytes(), policy().digest()));
    esys_->flush(storage);
    keys_.sealed_public = sealed.public_part;
    keys_.sealed_private = sealed.private_part;
    return {};
}

// ---- The fence.

/// The index by its handle; its Name covers attributes, policy and size, so a counter that was deleted and
/// made anew as something else has another one. The Name is part of every HMAC from here on.
std::expected<void, Refusal> HostTpm::find(Counter& counter, const Bytes& name) {
    const TSS2_RC rc = Esys_TR_FromTPMPublic(esys_->get(), counter.index, ESYS_TR_NONE, ESYS_TR_NONE,
                                             ESYS_TR_NONE, &counter.handle);
    if (rc != TSS2_RC_SUCCESS) {
        const TpmError error{rc, "find a counter in the TPM"};
        if (error.is_missing_handle()) return refuse(Refused::CounterMissing, error.error());
        return std::unexpected{unreachable(error)};
    }
    const auto found = esys_->name_of(counter.handle);
    if (!found) return std::unexpected{unreachable(found.error())};
    if (*found != name) return refuse(Refused::CounterReplaced);
    return {};
}

std::expected<Digest, Refusal> HostTpm::present_auth(const Counter& counter,
                                                     std::span<const Digest> candidates) {
    for (const Digest& candidate : candidates) {
        const TPM2B_AUTH auth = auth_of(candidate);
        Esys_TR_SetAuth(esys_->get(), counter.handle, &auth);
        const auto value = read_counter(counter);
        if (value) return candidate;
        // NO_DA: a wrong guess costs nothing.
        if (!value.error().is_wrong_auth()) return std::unexpected{unreachable(value.error())};
    }
    return refuse(Refused::CounterTaken);
}

std::expected<void, Refusal> HostTpm::fence() {
    if (auto found = find(o_, keys_.o_name); !found) return found;
    if (auto found = find(s_, keys_.s_name); !found) return found;
    const auto candidates = open_auths(master_, keys_.auths);
    if (!candidates) return refuse(Refused::KeysLocked, candidates.error());
    const auto old_o = present_auth(o_, *candidates);
    if (!old_o) return std::unexpected{old_o.error()};
    const auto old_s = present_auth(s_, *candidates);
    if (!old_s) return std::unexpected{old_s.error()};

    Digest next{};
    random_bytes(next);
    // Known on disk before the TPM knows it: after a crash in here, both are tried.
    ++keys_.starts;
    if (auto saved = save(std::array{next, *old_o, *old_s}); !saved)
        return refuse(Refused::Disk, saved.error());
    for (const Counter* each : {&o_, &s_}) {
        if (const auto changed = change_auth(*each, next); !changed)
            return std::unexpected{unreachable(changed.error())};
    }
    if (auto saved = save(std::array<Digest, 1>{next}); !saved) return refuse(Refused::Disk, saved.error());
    return {};
}

Result<void> HostTpm::save(std::span<const Digest> auths) {
    ++keys_.sequence;
    keys_.auths = seal_auths(master_, auths);
    const SecretBytes mac_key = HF_TRY(derive("key file"));
    return store_.write(keys_, mac_key.bytes());
}

TpmResult<void> HostTpm::change_auth(const Counter& counter, const Digest& next) {
    ESYS_CONTEXT* const esys = esys_->get();
    const ESYS_TR policy = HF_TPM_TRY(esys_->start_session(TPM2_SE_POLICY, ek_));
    HF_TPM(Esys_PolicyAuthValue(esys, policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE),
           "state the authValue");
    HF_TPM(
        Esys_PolicyCommandCode(esys, policy, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CC_NV_ChangeAuth),
        "state the command");
    // The new authValue crosses the bus encrypted.
    Esys_TRSess_SetAttributes(esys, policy, TPMA_SESSION_DECRYPT, TPMA_SESSION_DECRYPT);
    TPM2B_AUTH auth = auth_of(next);
    const TSS2_RC rc = Esys_NV_ChangeAuth(esys, counter.handle, policy, ESYS_TR_NONE, ESYS_TR_NONE, &auth);
    wipe(std::as_writable_bytes(std::span{&auth, 1}));
    esys_->flush(policy);
    HF_TPM(rc, "fence a counter");
    return {};
}

// ---- Reading and moving the counters.

TpmResult<std::uint64_t> HostTpm::read_counter(const Counter& counter) {
    TPM2B_MAX_NV_BUFFER* raw = nullptr;
    HF_TPM(Esys_NV_Read(esys_->get(), counter.handle, counter.handle, session_, ESYS_TR_NONE, ESYS_TR_NONE,
                        sizeof(std::uint64_t), 0, &raw),
           "read a counter");
    const EsysPtr<TPM2B_MAX_NV_BUFFER> data{raw};
    Be<std::uint64_t> value;
    if (data->size != sizeof value) return std::unexpected{TpmError{0, "counter of another size"}};
    std::memcpy(&value, data->buffer, sizeof value);
    return value.get();
}

Result<Reading> HostTpm::read() {
    const auto o = read_counter(o_);
    if (!o) return o.error().error();
    const auto s = read_counter(s_);
    if (!s) return s.error().error();
    // In an audit session, for its HMAC: nobody on the bus may invent a resetCount.
    Esys_TRSess_SetAttributes(esys_->get(), second_, TPMA_SESSION_AUDIT, TPMA_SESSION_AUDIT);
    TPMS_TIME_INFO* raw = nullptr;
    const TSS2_RC rc = Esys_ReadClock(esys_->get(), second_, ESYS_TR_NONE, ESYS_TR_NONE, &raw);
    Esys_TRSess_SetAttributes(esys_->get(), second_, 0, TPMA_SESSION_AUDIT);
    if (rc != TSS2_RC_SUCCESS) return TpmError{rc, "read the TPM's clock"}.error();
    const EsysPtr<TPMS_TIME_INFO> time{raw};
    return Reading{*o, *s, time->clockInfo.resetCount};
}

Result<void> HostTpm::advance(const Counter& counter) {
    const TSS2_RC rc =
        Esys_NV_Increment(esys_->get(), counter.handle, counter.handle, session_, ESYS_TR_NONE, ESYS_TR_NONE);
    if (rc != TSS2_RC_SUCCESS) return TpmError{rc, counter.words}.error();
    return {};
}
Result<void> HostTpm::advance_o() { return advance(o_); }
Result<void> HostTpm::advance_s() { return advance(s_); }

// ---- For verifiers.

TpmResult<Certified> HostTpm::certify(const Counter& counter, const TPM2B_DATA& about) {
    TPMT_SIG_SCHEME scheme{};
    scheme.scheme = TPM2_ALG_NULL;  // the key's own
    TPM2B_ATTEST* attest = nullptr;
    TPMT_SIGNATURE* signature = nullptr;
    HF_TPM(Esys_NV_Certify(esys_->get(), attestation_, counter.handle, counter.handle, second_, session_,
                           ESYS_TR_NONE, &about, &scheme, sizeof(std::uint64_t), 0, &attest, &signature),
           "certify a counter");
    const EsysPtr<TPM2B_ATTEST> free_attest{attest};
    const EsysPtr<TPMT_SIGNATURE> free_signature{signature};
    return certified_of(*attest, *signature);
}

Result<Certificate> HostTpm::certify(const Digest& about) {
    TPM2B_DATA data{};
    data.size = sizeof about;
    std::memcpy(data.buffer, about.data(), about.size());
    auto o = certify(o_, data);
    if (!o) return o.error().error();
    auto s = certify(s_, data);
    if (!s) return s.error().error();
    return Certificate{.o = std::move(*o), .s = std::move(*s)};
}

// ---- Init.

TpmResult<void> HostTpm::define(const Counter& counter, TPMA_NV extra, const Digest& auth) {
    TPM2B_NV_PUBLIC area{};
    area.nvPublic.nvIndex = counter.index;
    area.nvPublic.nameAlg = TPM2_ALG_SHA256;
    area.nvPublic.attributes = kAttributes | extra;
    area.nvPublic.authPolicy = change_auth_policy();
    area.nvPublic.dataSize = sizeof(std::uint64_t);
    TPM2B_AUTH value = auth_of(auth);
    ESYS_TR handle = ESYS_TR_NONE;
    ESYS_CONTEXT* const esys = esys_->get();
    Esys_TRSess_SetAttributes(esys, session_, TPMA_SESSION_DECRYPT, TPMA_SESSION_DECRYPT);
    const TSS2_RC rc = Esys_NV_DefineSpace(esys, ESYS_TR_RH_OWNER, session_, ESYS_TR_NONE, ESYS_TR_NONE,
                                           &value, &area, &handle);
    Esys_TRSess_SetAttributes(esys, session_, 0, TPMA_SESSION_DECRYPT);
    HF_TPM(rc, "define a counter");
    Esys_TR_SetAuth(esys, handle, &value);
    wipe(std::as_writable_bytes(std::span{&value, 1}));
    // The first increment sets WRITTEN, which changes the Name for good.
    HF_TPM(Esys_NV_Increment(esys, handle, handle, session_, ESYS_TR_NONE, ESYS_TR_NONE), counter.words);
    Esys_TR_Close(esys, &handle);
    return {};
}

std::expected<Reading, Refusal> HostTpm::init(UniqueFd tpm, KeyStore& store, std::uint32_t pcrs,
                                              Bytes update_key) {
    auto esys = connect(std::move(tpm));
    if (!esys) return std::unexpected{esys.error()};
    auto master = SecretBytes::create(sizeof(Digest));
    if (!master) return refuse(Refused::Disk, master.error());
    random_bytes(master->bytes());
    HostTpm host{std::move(*esys), store, std::move(*master)};
    Esys& tool = *host.esys_;

    const auto made = [&]() -> TpmResult<Digest> {
        const EkKind kind = HF_TPM_TRY(tool.certified_ek());
        HF_TPM_TRY(host.make_ek(kind));
        KeyFile& keys = host.keys_;
        keys.pcrs = pcrs;
        keys.update_key = std::move(update_key);
        keys.ek_name = HF_TPM_TRY(tool.name_of(host.ek_));
        keys.jump_bits = HF_TPM_TRY(tool.orderly_count());
        keys.made_at = static_cast<std::uint64_t>(std::time(nullptr));
        host.session_ = HF_TPM_TRY(tool.start_session(TPM2_SE_HMAC, host.ek_));

        HF_TPM_TRY(host.seal_anew());

        const ESYS_TR parent = HF_TPM_TRY(tool.make_storage_key(ESYS_TR_RH_ENDORSEMENT));
        const auto auth = host.derive("attestation key");
        if (!auth) return std::unexpected{TpmError{0, "no memory for keys"}};
        const ObjectBlob key = HF_TPM_TRY(tool.make_attestation_key(parent, host.session_, auth->bytes()));
        tool.flush(parent);
        keys.attestation_public = key.public_part;
        keys.attestation_private = key.private_part;

        Digest first{};
        random_bytes(first);
        HF_TPM_TRY(host.define(host.o_, TPMA_NV_ORDERLY, first));
        HF_TPM_TRY(host.define(host.s_, 0, first));
        return first;
    }();
    if (!made) return std::unexpected{unreachable(made.error())};

    for (Counter* each : {&host.o_, &host.s_}) {
        Bytes& name = each == &host.o_ ? host.keys_.o_name : host.keys_.s_name;
        const TSS2_RC rc = Esys_TR_FromTPMPublic(tool.get(), each->index, ESYS_TR_NONE, ESYS_TR_NONE,
                                                 ESYS_TR_NONE, &each->handle);
        if (rc != TSS2_RC_SUCCESS) return std::unexpected{unreachable({rc, "find a counter in the TPM"})};
        auto found = tool.name_of(each->handle);
        if (!found) return std::unexpected{unreachable(found.error())};
        name = std::move(*found);
        const TPM2B_AUTH auth = auth_of(*made);
        Esys_TR_SetAuth(tool.get(), each->handle, &auth);
    }
    const auto second = tool.start_session(TPM2_SE_HMAC, host.ek_);
    if (!second) return std::unexpected{unreachable(second.error())};
    host.second_ = *second;
    const auto reading = host.read();
    if (!reading) return refuse(Refused::TpmUnreachable, reading.error());
    host.keys_.first_o = reading->o;
    host.keys_.first_s = reading->s;
    if (auto saved = host.save(std::array<Digest, 1>{*made}); !saved)
        return refuse(Refused::Disk, saved.error());
    return *reading;
}

}  // namespace holdfast::anchor
