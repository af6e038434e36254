// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/authenticate.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <openssl/crypto.h>

#include "sys/sha2.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tdx::Certified, Stage::Authenticate> {
    static Authenticated<tdx::Certified> grant(const tdx::Certified& certified) {
        return Authenticated<tdx::Certified>{certified};
    }
};
template <>
struct Voucher<tdx::Certified, Stage::Bind> {
    static Bound<tdx::Certified> grant(const tdx::Certified& certified) {
        return Bound<tdx::Certified>{certified};
    }
};

}  // namespace holdfast::attest

namespace holdfast::attest::tdx {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint16_t kEcdsaP256 = 2;
constexpr std::size_t kNumberSize = 32;

// 939a7233-f79c-4ca9-940a-0db3957f0607: quoting enclaves by Intel.
constexpr std::array kIntel{std::byte{0x93}, std::byte{0x9a}, std::byte{0x72}, std::byte{0x33},
                            std::byte{0xf7}, std::byte{0x9c}, std::byte{0x4c}, std::byte{0xa9},
                            std::byte{0x94}, std::byte{0x0a}, std::byte{0x0d}, std::byte{0xb3},
                            std::byte{0x95}, std::byte{0x7f}, std::byte{0x06}, std::byte{0x07}};

Result<void> verify_p256(const PublicKey& key, Bytes signature, Bytes message) {
    if (key.kind() != KeyKind::P256) return input_error("the key is none of P-256");
    return verify(key,
                  {.scheme = Scheme::Ecdsa,
                   .hash = HashAlg::Sha256,
                   .first = signature.first(kNumberSize),
                   .second = signature.subspan(kNumberSize)},
                  message);
}

/// The PCK signed the report of the quoting enclave.
void check_quoting_enclave(const Quote& quote, const Certificate& leaf, Findings& findings) {
    const auto key = leaf.key();
    const auto verified = key ? verify_p256(*key, quote.quoting_enclave_signature, quote.quoting_enclave.raw)
                              : Result<void>{key.error()};
    if (!verified) findings.add(Code::TdxQeSignature, verified.error().what);
}

/// The quoting enclave put the attestation key, and the data it authenticates with it, under its report.
void check_attestation_key(const Quote& quote, Findings& findings) {
    Sha256 hash;
    hash.update(quote.attestation_key);
    hash.update(quote.authentication_data);
    const Digest256 digest = hash.finish();
    const Bytes actual = quote.quoting_enclave.report_data;
    const bool same =
        std::ranges::equal(actual.first(digest.size()), digest) &&
        std::ranges::all_of(actual.subspan(digest.size()), [](std::byte b) { return b == std::byte{0}; });
    if (!same) findings.add(Code::TdxQeBinding);
}

/// The attestation key signed the quote.
void check_signature(const Quote& quote, Findings& findings) {
    if (quote.key_type != kEcdsaP256) {
        findings.add(Code::TdxSignature, "attestation key of type " + std::to_string(quote.key_type));
        return;
    }
    const auto key = PublicKey::ec(KeyKind::P256, quote.attestation_key.first(kNumberSize),
                                   quote.attestation_key.subspan(kNumberSize));
    const auto verified =
        key ? verify_p256(*key, quote.signature, quote.signed_part) : Result<void>{key.error()};
    if (!verified) findings.add(Code::TdxSignature, verified.error().what);
}

std::optional<Certificate> leaf_of(Bytes presented) {
    auto certificates = parse_certificates(presented);
    if (!certificates) return std::nullopt;
    return std::move(certificates->front());
}

}  // namespace

std::optional<Pck> claimed_pck(const Quote& quote) {
    const auto leaf = leaf_of(quote.pck_chain);
    if (!leaf) return std::nullopt;
    const auto pck = read_pck(*leaf);
    if (!pck) return std::nullopt;
    return *pck;
}

std::optional<Authenticated<Certified>> authenticate(const Parsed<Quote>& quote, const ChainRequest& known,
                                                     ChainVerifier& verifier, Findings& findings) {
    Findings found;
    if (quote->trailing != 0) found.add(Code::TdxTrailing, std::to_string(quote->trailing) + " bytes");
    if (!std::ranges::equal(quote->vendor, kIntel)) found.add(Code::TdxVendor, hex(quote->vendor));
    ChainRequest request = known;
    request.presented = quote->pck_chain;
    const auto chain = verifier.verify(request, found);
    const std::optional<Certificate> leaf = chain ? chain->front() : leaf_of(request.presented);
    std::optional<Pck> pck;
    if (leaf) {
        check_quoting_enclave(*quote, *leaf, found);
        const auto read = read_pck(*leaf);
        if (read) pck = *read;
        else found.add(Code::TdxPck, read.error().what);
    }
    check_attestation_key(*quote, found);
    check_signature(*quote, found);
    findings.append(found);
    if (!chain || !pck || !found.is_authentic()) return std::nullopt;
    return Voucher<Certified, Stage::Authenticate>::grant({*quote, *pck});
}

std::optional<Bound<Certified>> bind_report_data(const Authenticated<Certified>& quote, Bytes expected,
                                                 Findings& findings) {
    std::array<std::byte, 64> padded{};
    const auto* const td = quote->quote.td();
    if (td == nullptr || expected.size() > padded.size()) {
        findings.add(Code::TdxReportData,
                     "no TD, or more than the 64 bytes that a TD can have stated are expected");
        return std::nullopt;
    }
    std::ranges::copy(expected, padded.begin());
    if (CRYPTO_memcmp(padded.data(), td->report_data.data(), padded.size()) != 0) {
        findings.add(Code::TdxReportData);
        return std::nullopt;
    }
    return Voucher<Certified, Stage::Bind>::grant(*quote);
}

eventlog::Vouched vouched_by(const Authenticated<Certified>& quote) {
    constexpr std::size_t kLogged = 3;
    eventlog::Vouched vouched{.bank = HashAlg::Sha384, .values = {std::nullopt}};
    const auto* const td = quote->quote.td();
    for (std::size_t i = 0; td != nullptr && i < kLogged; ++i) {
        vouched.values.push_back(digest_from(HashAlg::Sha384, td->rtmr[i]));
    }
    return vouched;
}

}  // namespace holdfast::attest::tdx
