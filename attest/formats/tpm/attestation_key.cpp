// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/attestation_key.hpp"

#include <algorithm>
#include <array>

#include "attest/formats/tpm/spec.hpp"
#include "sys/sha2.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tpm::AttestationKey, Stage::Parse> {
    static Parsed<tpm::AttestationKey> grant(tpm::AttestationKey key) {
        return Parsed<tpm::AttestationKey>{std::move(key)};
    }
};
template <>
struct Voucher<tpm::AttestationKey, Stage::Authenticate> {
    static Authenticated<tpm::AttestationKey> grant(tpm::AttestationKey key) {
        return Authenticated<tpm::AttestationKey>{std::move(key)};
    }
};

namespace tpm {
namespace {

struct Demand {
    std::uint32_t bit;
    bool set;
    const char* what;
};
constexpr std::array kDemands{
    Demand{attribute::restricted, true, "it is not restricted: it signs whatever it is given"},
    Demand{attribute::sign, true, "it is not a signing key"},
    Demand{attribute::decrypt, false, "it decrypts too"},
    Demand{attribute::fixedTPM, true, "it is not bound to one TPM (fixedTPM)"},
    Demand{attribute::fixedParent, true, "it is not bound to its parent (fixedParent)"},
    Demand{attribute::sensitiveDataOrigin, true, "it was not made by the TPM (sensitiveDataOrigin)"},
};

bool has_right_attributes(std::uint32_t attributes, Findings& findings) {
    bool right = true;
    for (const Demand& demand : kDemands) {
        if (((attributes & demand.bit) != 0) == demand.set) continue;
        findings.add(Code::TpmAkAttributes, demand.what);
        right = false;
    }
    return right;
}

std::optional<Authenticated<AttestationKey>> grant_if_right(const AttestationKey& key, Findings& findings) {
    if (key.area && !has_right_attributes(key.area->attributes, findings)) return std::nullopt;
    if (!key.area) findings.add(Code::TpmAkBare);
    return Voucher<AttestationKey, Stage::Authenticate>::grant(key);
}

}  // namespace

Result<Parsed<AttestationKey>> parse_attestation_key(std::span<const std::byte> bytes) {
    constexpr std::byte kSequence{0x30};  // how DER begins, and no TPM structure of ours
    if (!bytes.empty() && bytes.front() == kSequence) {
        return Voucher<AttestationKey, Stage::Parse>::grant(
            {.key = HF_TRY(PublicKey::from_spki(bytes)), .area = std::nullopt});
    }
    PublicArea area = HF_TRY(parse_public(bytes));
    PublicKey key = area.key;
    return Voucher<AttestationKey, Stage::Parse>::grant({.key = std::move(key), .area = std::move(area)});
}

Result<Parsed<AttestationKey>> KeyMemory::parse(std::span<const std::byte> bytes) {
    for (const Entry& entry : entries_) {
        if (std::ranges::equal(entry.bytes, bytes)) return entry.key;
    }
    auto key = HF_TRY(parse_attestation_key(bytes));
    if (bytes.size() > kMaxBytes) return key;
    Entry entry{.bytes = {bytes.begin(), bytes.end()}, .key = key};
    if (entries_.size() < kEntries) {
        entries_.push_back(std::move(entry));
    } else {
        entries_[next_] = std::move(entry);
        next_ = (next_ + 1) % kEntries;
    }
    return key;
}

std::optional<Authenticated<AttestationKey>> trust_given(const Parsed<AttestationKey>& key,
                                                         Findings& findings) {
    findings.add(Code::TpmAkGiven);
    return grant_if_right(*key, findings);
}

std::optional<Authenticated<AttestationKey>> trust_certified(const Parsed<AttestationKey>& key,
                                                             const PublicKey& certified, Findings& findings) {
    auto granted = grant_if_right(*key, findings);
    if (key->key == certified) return granted;
    findings.add(Code::TpmAkCertificate);
    return std::nullopt;
}

std::optional<Authenticated<AttestationKey>> trust_named(const Parsed<AttestationKey>& key,
                                                         std::span<const std::vector<std::byte>> names,
                                                         Findings& findings) {
    auto granted = grant_if_right(*key, findings);
    if (key->area && std::ranges::find(names, key->area->name) != names.end()) return granted;
    findings.add(Code::TpmAkUnknown, key->area ? hex(key->area->name) : "a bare key has no name");
    return std::nullopt;
}

}  // namespace tpm
}  // namespace holdfast::attest
