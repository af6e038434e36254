// SPDX-License-Identifier: Apache-2.0
// What a certificate of an SNP endorsement key says of the chip and its firmware (AMD 57230, "VCEK
// Certificate and KDS Interface", section 3.1): the VCEK is one chip's, the VLEK one cloud provider's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "attest/crypto/x509.hpp"
#include "attest/formats/snp/tcb.hpp"

namespace holdfast::attest::snp {

enum class EndorsementKind : std::uint8_t { Vcek, Vlek };

struct Endorsement {
    EndorsementKind kind = EndorsementKind::Vcek;
    Product product = Product::Milan;
    Tcb tcb;                          ///< the security versions that the key is derived from
    std::vector<std::byte> hardware;  ///< HWID: 64 bytes, from Turin on 8; empty in a VLEK
    std::string provider;             ///< CSP_ID of a VLEK
};

/// A certificate that lacks a part is an Input error, as is one for a product that is not known.
[[nodiscard]] Result<Endorsement> read_endorsement(const Certificate& certificate);

}  // namespace holdfast::attest::snp
