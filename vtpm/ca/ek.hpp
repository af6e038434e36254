// SPDX-License-Identifier: Apache-2.0
// Endorsement keys and where their certificates live: templates L-1, L-2 and H-3 of the TCG EK
// Credential Profile 2.5, so that any client makes the same keys again from the same seed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::vtpm::ca {

enum class EkKind : std::uint8_t { Rsa2048, P256, P384 };
inline constexpr std::array kEkKinds{EkKind::Rsa2048, EkKind::P256, EkKind::P384};

/// The NV index of its certificate.
[[nodiscard]] std::uint32_t certificate_index(EkKind kind) noexcept;
/// A TPMT_PUBLIC for TPM2_CreatePrimary.
[[nodiscard]] std::vector<std::byte> ek_template(EkKind kind);

/// The public key in a TPMT_PUBLIC that was made from the template.
struct EkPublic {
    EkKind kind = EkKind::Rsa2048;
    std::vector<std::byte> modulus;  ///< RSA; the exponent is 65537
    std::vector<std::byte> x;        ///< ECC, padded to the curve's size
    std::vector<std::byte> y;
};
Result<EkPublic> parse_ek(EkKind kind, std::span<const std::byte> public_area);

}  // namespace holdfast::vtpm::ca
