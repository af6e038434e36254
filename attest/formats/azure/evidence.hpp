// SPDX-License-Identifier: Apache-2.0
// Evidence of Azure's confidential VMs as the attester of Confidential Containers writes it: JSON of two
// forms (bytes as arrays of numbers; or hexadecimal and base64url), for SEV-SNP and for TDX.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "sys/result.hpp"

namespace holdfast::attest::azure {

using Blob = std::vector<std::byte>;

struct TpmQuote {
    Blob message;            ///< TPMS_ATTEST
    Blob signature;          ///< TPMT_SIGNATURE, made of the bare RSA signature that Azure's vTPM gives
    std::vector<Blob> pcrs;  ///< of the SHA-256 bank, from 0 on
};

struct Evidence {
    Blob hcl_report;
    TpmQuote quote;
    Blob vcek;  ///< PEM or DER; empty with TDX
    Blob td_quote;
};

[[nodiscard]] Result<Evidence> parse_evidence(std::string_view json);
/// The member "tpm_quote" of evidence, or a quote alone.
[[nodiscard]] Result<TpmQuote> parse_tpm_quote(std::string_view json);

}  // namespace holdfast::attest::azure
