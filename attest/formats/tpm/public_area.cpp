// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/public_area.hpp"

#include "attest/formats/tpm/spec.hpp"
#include "vtpm/tpm2/codec.hpp"

namespace holdfast::attest::tpm {
namespace {

using tpm2::Reader;

struct AsymmetricScheme {
    std::uint16_t scheme = alg::NULL_;
    std::uint16_t hash = alg::NULL_;
};

/// TPMT_SYM_DEF_OBJECT: NULL in a key that signs; a storage key's cipher is read over.
Result<void> skip_symmetric(Reader& reader) {
    if (HF_TRY(reader.get<std::uint16_t>()) != alg::NULL_) HF_TRY(reader.get_raw(4));  // key bits and mode
    return {};
}

Result<AsymmetricScheme> read_scheme(Reader& reader) {
    AsymmetricScheme scheme{.scheme = HF_TRY(reader.get<std::uint16_t>())};
    if (scheme.scheme == alg::NULL_) return scheme;
    scheme.hash = HF_TRY(reader.get<std::uint16_t>());
    if (scheme.scheme == alg::ECDAA) HF_TRY(reader.get<std::uint16_t>());  // a counter
    return scheme;
}

struct Parameters {
    AsymmetricScheme scheme;
    PublicKey key;
};

Result<Parameters> read_rsa(Reader& reader) {
    constexpr std::uint32_t kDefaultExponent = 65537;  // which a TPM writes as 0
    HF_TRY(skip_symmetric(reader));
    const AsymmetricScheme scheme = HF_TRY(read_scheme(reader));
    [[maybe_unused]] const auto bits = HF_TRY(reader.get<std::uint16_t>());
    const auto exponent = HF_TRY(reader.get<std::uint32_t>());
    const auto modulus = HF_TRY(reader.get_sized());
    return Parameters{scheme, HF_TRY(PublicKey::rsa(modulus, exponent == 0 ? kDefaultExponent : exponent))};
}

Result<KeyKind> curve_of(std::uint16_t number) {
    switch (number) {
        case ecc::NIST_P256: return KeyKind::P256;
        case ecc::NIST_P384: return KeyKind::P384;
        case ecc::NIST_P521: return KeyKind::P521;
        default: return peer_fault("EC key on a curve that is not verified");
    }
}

Result<Parameters> read_ecc(Reader& reader) {
    HF_TRY(skip_symmetric(reader));
    const AsymmetricScheme scheme = HF_TRY(read_scheme(reader));
    const auto curve_number = HF_TRY(reader.get<std::uint16_t>());
    const KeyKind curve = HF_TRY(curve_of(curve_number));
    const auto kdf = HF_TRY(reader.get<std::uint16_t>());
    if (kdf != alg::NULL_) HF_TRY(reader.get<std::uint16_t>());  // its hash
    const auto x = HF_TRY(reader.get_sized());
    const auto y = HF_TRY(reader.get_sized());
    return Parameters{scheme, HF_TRY(PublicKey::ec(curve, x, y))};
}

/// What a TPM2B_PUBLIC holds, or the bytes themselves. The two cannot be mistaken for each other: a
/// TPMT_PUBLIC begins with 0001 or 0023 and is longer than either.
std::span<const std::byte> without_size(std::span<const std::byte> bytes) {
    Reader reader{bytes};
    const auto inner = reader.get_sized();
    return inner && reader.rest().empty() ? *inner : bytes;
}

std::vector<std::byte> name_of(HashAlg alg, std::span<const std::byte> area) {
    tpm2::Writer name;
    name.put(static_cast<std::uint16_t>(alg));
    name.put_raw(hash(alg, area).bytes());
    return name.take();
}

}  // namespace

Result<PublicArea> parse_public(std::span<const std::byte> bytes) {
    const auto area = without_size(bytes);
    Reader reader{area};
    const auto type = HF_TRY(reader.get<std::uint16_t>());
    if (type != alg::RSA && type != alg::ECC) return peer_fault("TPM key that is neither RSA nor ECC");
    const auto name_alg = known_hash(HF_TRY(reader.get<std::uint16_t>()));
    if (!name_alg) return peer_fault("TPM key with a name algorithm that is not known");
    const auto attributes = HF_TRY(reader.get<std::uint32_t>());
    const auto policy = HF_TRY(reader.get_sized());
    Parameters parameters = HF_TRY(type == alg::RSA ? read_rsa(reader) : read_ecc(reader));
    HF_TRY(reader.expect_end());
    return PublicArea{.attributes = attributes,
                      .scheme = parameters.scheme.scheme,
                      .scheme_hash = parameters.scheme.hash,
                      .auth_policy = {policy.begin(), policy.end()},
                      .name = name_of(*name_alg, area),
                      .key = std::move(parameters.key)};
}

}  // namespace holdfast::attest::tpm
