// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/authenticate.hpp"

#include <algorithm>

#include <openssl/crypto.h>

#include "attest/formats/tpm/spec.hpp"
#include "sys/sha2.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tpm::Signed, Stage::Authenticate> {
    static Authenticated<tpm::Signed> grant(tpm::Signed statement) {
        return Authenticated<tpm::Signed>{std::move(statement)};
    }
};
template <>
struct Voucher<tpm::Signed, Stage::Bind> {
    static Bound<tpm::Signed> grant(tpm::Signed statement) {
        return Bound<tpm::Signed>{std::move(statement)};
    }
};
template <>
struct Voucher<tpm::PcrValues, Stage::Bind> {
    static Bound<tpm::PcrValues> grant(tpm::PcrValues values) {
        return Bound<tpm::PcrValues>{std::move(values)};
    }
};

namespace tpm {
namespace {

std::string number(std::uint64_t value) { return std::to_string(value); }

std::optional<Scheme> scheme_of(std::uint16_t alg) noexcept {
    switch (alg) {
        case alg::RSASSA: return Scheme::RsaPkcs1;
        case alg::RSAPSS: return Scheme::RsaPss;
        case alg::ECDSA: return Scheme::Ecdsa;
        default: return std::nullopt;
    }
}

/// The signature in terms of ours, if it is made as the key's own public area says.
std::optional<Signature> judge_scheme(const WireSignature& wire, const AttestationKey& key,
                                      Findings& findings) {
    const auto scheme = scheme_of(wire.scheme);
    const auto hash = known_hash(wire.hash);
    if (!scheme || !hash) {
        findings.add(Code::TpmScheme, "scheme " + number(wire.scheme) + " with hash " + number(wire.hash));
        return std::nullopt;
    }
    if (key.area && key.area->scheme != alg::NULL_ &&
        (key.area->scheme != wire.scheme || key.area->scheme_hash != wire.hash)) {
        findings.add(Code::TpmScheme, "the key's public area names another scheme than the signature");
        return std::nullopt;
    }
    return Signature{.scheme = *scheme, .hash = *hash, .first = wire.first, .second = wire.second};
}

bool judge_kind(const Attest& attest, Wanted wanted, Findings& findings) {
    bool right = true;
    if (attest.magic != TPM_GENERATED_VALUE) {
        findings.add(Code::TpmMagic);
        right = false;
    }
    const std::uint16_t type = wanted == Wanted::Quote ? st::ATTEST_QUOTE : st::ATTEST_NV;
    if (attest.type != type) {
        const auto bytes = Be<std::uint16_t>{attest.type};
        findings.add(Code::TpmType, "type " + hex(std::as_bytes(std::span{&bytes, 1})));
        right = false;
    }
    return right;
}

/// The values of one selected bank, put into the hash and into `out`. False: some are not there.
bool take_bank(const tpm2::PcrBank& bank, std::span<const GivenPcrs> given, Hasher& hasher, PcrValues& out,
               Findings& findings) {
    const auto alg = known_hash(bank.alg);
    if (!alg) {
        findings.add(Code::TpmPcrBank, "bank " + number(bank.alg) + " is of an algorithm that is not known");
        return false;
    }
    const auto source = std::ranges::find_if(
        given, [&](const GivenPcrs& one) { return one.bank == bank.alg || one.bank == 0; });
    PcrValues::Bank& values = out.banks.emplace_back(PcrValues::Bank{.alg = *alg, .values = {}});
    bool whole = true;
    for (std::uint32_t pcr = 0; pcr < 32; ++pcr) {
        if ((bank.pcrs >> pcr & 1) == 0) continue;
        const std::string place = std::string{hash_name(*alg)} + " PCR " + number(pcr);
        if (source == given.end() || !source->values.contains(pcr)) {
            findings.add(Code::TpmPcrMissing, place);
            whole = false;
            continue;
        }
        const auto digest = digest_from(*alg, source->values.at(pcr));
        if (!digest) {
            findings.add(Code::TpmPcrBank, place + " has a value of another size");
            whole = false;
            continue;
        }
        hasher.update(digest->bytes());
        values.values.emplace(pcr, *digest);
    }
    return whole;
}

}  // namespace

std::optional<Authenticated<Signed>> authenticate(const Parsed<Attest>& attest, const WireSignature& wire,
                                                  const Parsed<AttestationKey>& key,
                                                  const std::optional<Authenticated<AttestationKey>>& trusted,
                                                  Wanted wanted, Findings& findings) {
    const AttestationKey& signer = trusted ? **trusted : *key;
    bool right = judge_kind(*attest, wanted, findings);
    const auto signature = judge_scheme(wire, signer, findings);
    if (!signature) return std::nullopt;
    if (const auto verified = verify(signer.key, *signature, attest->raw); !verified) {
        findings.add(Code::TpmSignature, verified.error().what);
        right = false;
    }
    if (!right || !trusted) return std::nullopt;
    return Voucher<Signed, Stage::Authenticate>::grant({.attest = *attest,
                                                        .scheme = signature->scheme,
                                                        .hash = signature->hash,
                                                        .key_bits = signer.key.bits(),
                                                        .key_kind = signer.key.kind()});
}

std::optional<Bound<Signed>> bind_nonce(const Authenticated<Signed>& statement,
                                        std::span<const std::byte> nonce, Findings& findings) {
    const auto extra = statement->attest.extra;
    if (extra.size() != nonce.size() || CRYPTO_memcmp(extra.data(), nonce.data(), nonce.size()) != 0) {
        findings.add(Code::TpmNonce, "it holds " + (extra.empty() ? "nothing" : hex(extra)));
        return std::nullopt;
    }
    return Voucher<Signed, Stage::Bind>::grant(*statement);
}

const Digest* PcrValues::find(HashAlg alg, std::uint32_t pcr) const noexcept {
    for (const Bank& bank : banks) {
        if (bank.alg != alg) continue;
        const auto value = bank.values.find(pcr);
        if (value != bank.values.end()) return &value->second;
    }
    return nullptr;
}

GivenPcrs given_pcrs(std::uint16_t bank, std::uint32_t pcrs, std::span<const std::byte> values) {
    GivenPcrs given{.bank = bank, .values = {}};
    const auto alg = known_hash(bank);
    const std::size_t size = alg ? digest_size(*alg) : 0;
    for (std::uint32_t pcr = 0; pcr < 24; ++pcr) {
        if ((pcrs >> pcr & 1) == 0 || values.size() < size) continue;
        given.values[pcr].assign(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(size));
        values = values.subspan(size);
    }
    return given;
}

std::optional<Bound<PcrValues>> bind_pcrs(const Authenticated<Signed>& quote,
                                          std::span<const GivenPcrs> given, Findings& findings) {
    const auto* const body = std::get_if<QuoteBody>(&quote->attest.body);
    check(body != nullptr, "PCRs of a statement that is no quote");
    Hasher hasher{quote->hash};
    PcrValues values;
    bool whole = true;
    for (const tpm2::PcrBank& bank : body->selection) {
        if (bank.pcrs == 0) continue;  // a bank that is named with no PCR
        whole = take_bank(bank, given, hasher, values, findings) && whole;
    }
    if (!whole) return std::nullopt;
    if (!std::ranges::equal(hasher.finish().bytes(), body->pcr_digest)) {
        findings.add(Code::TpmPcrDigest);
        return std::nullopt;
    }
    return Voucher<PcrValues, Stage::Bind>::grant(std::move(values));
}

Bound<PcrValues> known_pcrs(PcrValues values) {
    return Voucher<PcrValues, Stage::Bind>::grant(std::move(values));
}

}  // namespace tpm
}  // namespace holdfast::attest
