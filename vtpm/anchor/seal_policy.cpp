// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/seal_policy.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <tss2/tss2_mu.h>

#include "sys/free_with.hpp"
#include "sys/signed.hpp"
#include "sys/wire/endian.hpp"
#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::size_t kCoordinate = 32;  // of P-256
static_assert(kUpdateKeyBytes == 2 * kCoordinate);
constexpr std::byte kUncompressed{4};

template <typename T>
std::span<const std::byte> bytes_of(const T& value) {
    return std::as_bytes(std::span{&value, 1});
}

}  // namespace

Digest SealPolicy::by_approval() const {
    const Be<std::uint32_t> command{TPM2_CC_PolicyAuthorize};
    const Digest keyed = sha256({Digest{}, bytes_of(command), update_key_name(update_key)});
    return sha256({keyed});  // and an empty policyRef
}

Digest SealPolicy::digest() const {
    if (update_key.empty()) return by_pcrs;
    const Be<std::uint32_t> command{TPM2_CC_PolicyOR};
    return sha256({Digest{}, bytes_of(command), by_pcrs, by_approval()});
}

Result<Bytes> update_key_of(std::span<const std::byte> key) {
    // SAFETY: unsigned char may alias anything.
    const auto* at = reinterpret_cast<const unsigned char*>(key.data());
    const std::unique_ptr<EVP_PKEY, FreeWith<EVP_PKEY_free>> parsed{
        d2i_PUBKEY(nullptr, &at, static_cast<long>(key.size()))};
    std::array<std::byte, 1 + kUpdateKeyBytes> point{};
    std::size_t size = 0;
    const bool fits = parsed && is_p256(parsed.get()) &&
                      EVP_PKEY_get_octet_string_param(parsed.get(), "encoded-pub-key",
                                                      reinterpret_cast<unsigned char*>(point.data()),
                                                      point.size(), &size) == 1 &&
                      size == point.size() && point.front() == kUncompressed;
    if (!fits) return input_error("not an ECDSA P-256 key");
    return Bytes{point.begin() + 1, point.end()};
}

TPM2B_PUBLIC public_of(const Bytes& update_key) {
    check(update_key.size() == kUpdateKeyBytes, "update key of another size");
    TPM2B_PUBLIC key{};
    key.publicArea.type = TPM2_ALG_ECC;
    key.publicArea.nameAlg = TPM2_ALG_SHA256;
    key.publicArea.objectAttributes = TPMA_OBJECT_USERWITHAUTH | TPMA_OBJECT_SIGN_ENCRYPT;
    auto& ecc = key.publicArea.parameters.eccDetail;
    ecc.symmetric.algorithm = TPM2_ALG_NULL;
    ecc.scheme.scheme = TPM2_ALG_ECDSA;
    ecc.scheme.details.ecdsa.hashAlg = TPM2_ALG_SHA256;
    ecc.curveID = TPM2_ECC_NIST_P256;
    ecc.kdf.scheme = TPM2_ALG_NULL;
    auto& point = key.publicArea.unique.ecc;
    point.x.size = point.y.size = kCoordinate;
    std::memcpy(point.x.buffer, update_key.data(), kCoordinate);
    std::memcpy(point.y.buffer, update_key.data() + kCoordinate, kCoordinate);
    return key;
}

Bytes update_key_name(const Bytes& update_key) {
    const TPM2B_PUBLIC key = public_of(update_key);
    std::array<std::uint8_t, sizeof key> area{};
    std::size_t size = 0;
    check(Tss2_MU_TPMT_PUBLIC_Marshal(&key.publicArea, area.data(), area.size(), &size) == 0,
          "the update key does not marshal");
    const Be<std::uint16_t> alg{TPM2_ALG_SHA256};
    const Digest digest = sha256({std::as_bytes(std::span{area}).first(size)});
    Bytes name(sizeof alg + digest.size());
    std::ranges::copy(digest, std::ranges::copy(bytes_of(alg), name.begin()).out);
    return name;
}

Result<TPMT_SIGNATURE> signature_of(std::span<const std::byte> der) {
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());  // SAFETY: as above
    const std::unique_ptr<ECDSA_SIG, FreeWith<ECDSA_SIG_free>> parsed{
        d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()))};
    TPMT_SIGNATURE signature{};
    signature.sigAlg = TPM2_ALG_ECDSA;
    auto& ecdsa = signature.signature.ecdsa;
    ecdsa.hash = TPM2_ALG_SHA256;
    ecdsa.signatureR.size = ecdsa.signatureS.size = kCoordinate;
    const bool fits =
        parsed && BN_bn2binpad(ECDSA_SIG_get0_r(parsed.get()), ecdsa.signatureR.buffer, kCoordinate) > 0 &&
        BN_bn2binpad(ECDSA_SIG_get0_s(parsed.get()), ecdsa.signatureS.buffer, kCoordinate) > 0;
    if (!fits) return input_error("not an ECDSA P-256 signature");
    return signature;
}

}  // namespace holdfast::anchor
