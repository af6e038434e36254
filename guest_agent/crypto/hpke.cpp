// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/crypto/hpke.hpp"

#include <algorithm>

#include "guest_agent/crypto/aead.hpp"
#include "guest_agent/crypto/kdf.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::agent::hpke {
namespace {

// §7.1, 7.2, 7.3: DHKEM(X25519, HKDF-SHA256) 0x0020, HKDF-SHA256 0x0001, AES-256-GCM 0x0002.
constexpr std::string_view kVersion = "HPKE-v1";
constexpr std::string_view kKemSuite{"KEM\x00\x20", 5};
constexpr std::string_view kSuite{"HPKE\x00\x20\x00\x01\x00\x02", 10};
constexpr std::byte kModeBase{0};

// §4, LabeledExtract and LabeledExpand.
Key labeled_extract(std::string_view suite, Bytes salt, std::string_view label, Bytes secret) {
    return hkdf_extract(salt, {text(kVersion), text(suite), text(label), secret});
}

void labeled_expand(std::string_view suite, const Key& key, std::string_view label,
                    std::initializer_list<Bytes> info, std::span<std::byte> out) {
    const Be<std::uint16_t> size{static_cast<std::uint16_t>(out.size())};
    check(info.size() == 2, "HPKE expands two parts");
    hkdf_expand(key,
                {std::as_bytes(std::span{&size, 1}), text(kVersion), text(suite), text(label), *info.begin(),
                 *(info.begin() + 1)},
                out);
}

/// §4.1, ExtractAndExpand of the KEM.
Key kem_secret(const Key& dh, const PublicBytes& encapsulated, const PublicBytes& recipient) {
    const Key pseudo_random = labeled_extract(kKemSuite, {}, "eae_prk", dh.bytes());
    Key out;
    labeled_expand(kKemSuite, pseudo_random, "shared_secret", {encapsulated, recipient}, out.bytes());
    return out;
}

struct Context {
    Key key;
    Nonce nonce{};
};

/// §5.1, KeySchedule in mode_base: no psk and no psk_id.
Context key_schedule(const Key& shared, Bytes info) {
    const Key psk_id_hash = labeled_extract(kSuite, {}, "psk_id_hash", {});
    const Key info_hash = labeled_extract(kSuite, {}, "info_hash", info);
    std::array<std::byte, 1 + 2 * kKeyBytes> context{kModeBase};
    std::ranges::copy(psk_id_hash.bytes(), context.begin() + 1);
    std::ranges::copy(info_hash.bytes(), context.begin() + 1 + kKeyBytes);
    const Key secret = labeled_extract(kSuite, shared.bytes(), "secret", {});
    Context out;
    labeled_expand(kSuite, secret, "key", {context, Bytes{}}, out.key.bytes());
    labeled_expand(kSuite, secret, "base_nonce", {context, Bytes{}}, out.nonce);
    return out;
}

}  // namespace

Result<std::vector<std::byte>> seal_with(const AgreementKey& ephemeral, const PublicBytes& recipient,
                                         Bytes info, Bytes associated, Bytes plain) {
    const Key dh = HF_TRY(agree(ephemeral.secret, recipient));
    const Context context = key_schedule(kem_secret(dh, ephemeral.shared, recipient), info);
    std::vector<std::byte> out(kOverhead + plain.size());
    std::ranges::copy(ephemeral.shared, out.begin());
    Aead aead = HF_TRY(Aead::create(context.key));
    HF_TRY(aead.seal(context.nonce, associated, plain, std::span{out}.subspan(kEncapsulated)));
    return out;
}

Result<std::vector<std::byte>> seal(const PublicBytes& recipient, Bytes info, Bytes associated, Bytes plain) {
    const AgreementKey ephemeral = HF_TRY(make_agreement_key());
    return seal_with(ephemeral, recipient, info, associated, plain);
}

Result<SecretBuffer> open(const AgreementKey& recipient, Bytes info, Bytes associated, Bytes sealed) {
    if (sealed.size() < kOverhead) return peer_fault("an HPKE message is too short");
    PublicBytes encapsulated{};
    std::ranges::copy(sealed.first(kEncapsulated), encapsulated.begin());
    const Key dh = HF_TRY(agree(recipient.secret, encapsulated));
    const Context context = key_schedule(kem_secret(dh, encapsulated, recipient.shared), info);
    SecretBuffer plain{sealed.size() - kOverhead};
    Aead aead = HF_TRY(Aead::create(context.key));
    HF_TRY(aead.open(context.nonce, associated, sealed.subspan(kEncapsulated), plain.bytes()));
    return plain;
}

}  // namespace holdfast::agent::hpke
