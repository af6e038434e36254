// SPDX-License-Identifier: Apache-2.0
// What a PCK certificate says of its platform: Intel's SGX extension ("Intel SGX PCK Certificate and CRL
// Profile Specification", 1.5, section 1.3.5).
#pragma once

#include <array>
#include <cstdint>

#include "attest/crypto/x509.hpp"

namespace holdfast::attest::tdx {

struct Pck {
    std::array<std::byte, 16> ppid{};  ///< the platform, encrypted or not as the issuer chose
    std::array<std::byte, 6> fmspc{};  ///< family, model, stepping, platform, custom SKU
    std::array<std::byte, 2> pce_id{};
    std::array<std::uint8_t, 16> components{};
    std::uint16_t pce_svn = 0;
};

/// A certificate that lacks a part is an Input error.
[[nodiscard]] Result<Pck> read_pck(const Certificate& certificate);

}  // namespace holdfast::attest::tdx
