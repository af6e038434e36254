// SPDX-License-Identifier: Apache-2.0
// Constants of the TPM 2.0 Library, revision 1.59, Part 2 (docs/specs.md): what attestations are made of.
#pragma once

#include <cstdint>

namespace holdfast::attest::tpm {

inline constexpr std::uint32_t TPM_GENERATED_VALUE = 0xff544347;  // §6.2: no outsider can have it signed

namespace st {  // §6.9, TPM_ST
inline constexpr std::uint16_t ATTEST_NV = 0x8014;
inline constexpr std::uint16_t ATTEST_CERTIFY = 0x8017;
inline constexpr std::uint16_t ATTEST_QUOTE = 0x8018;
}  // namespace st

namespace alg {  // §6.3, TPM_ALG_ID
inline constexpr std::uint16_t RSA = 0x0001;
inline constexpr std::uint16_t NULL_ = 0x0010;
inline constexpr std::uint16_t RSASSA = 0x0014;
inline constexpr std::uint16_t RSAPSS = 0x0016;
inline constexpr std::uint16_t ECDSA = 0x0018;
inline constexpr std::uint16_t ECDAA = 0x001a;
inline constexpr std::uint16_t ECC = 0x0023;
}  // namespace alg

namespace ecc {  // §6.4, TPM_ECC_CURVE
inline constexpr std::uint16_t NIST_P256 = 0x0003;
inline constexpr std::uint16_t NIST_P384 = 0x0004;
inline constexpr std::uint16_t NIST_P521 = 0x0005;
}  // namespace ecc

namespace attribute {  // §8.3.2, TPMA_OBJECT
inline constexpr std::uint32_t fixedTPM = 1U << 1;
inline constexpr std::uint32_t fixedParent = 1U << 4;
inline constexpr std::uint32_t sensitiveDataOrigin = 1U << 5;
inline constexpr std::uint32_t restricted = 1U << 16;
inline constexpr std::uint32_t decrypt = 1U << 17;
inline constexpr std::uint32_t sign = 1U << 18;
}  // namespace attribute

namespace nv {  // §13.4, TPMA_NV
inline constexpr std::uint32_t ORDERLY = 1U << 26;
inline constexpr std::uint32_t WRITTEN = 1U << 29;
inline constexpr std::uint32_t TYPE_MASK = 0xfU << 4;
inline constexpr std::uint32_t TYPE_COUNTER = 1U << 4;
}  // namespace nv

}  // namespace holdfast::attest::tpm
