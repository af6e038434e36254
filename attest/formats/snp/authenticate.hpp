// SPDX-License-Identifier: Apache-2.0
// Whether AMD vouches for the key that signed an SNP report, and for the chip and the firmware that the
// report names.
#pragma once

#include <optional>
#include <span>

#include "attest/crypto/x509.hpp"
#include "attest/formats/snp/endorsement.hpp"
#include "attest/formats/snp/report.hpp"

namespace holdfast::attest::snp {

/// A report with what its endorsement says. Borrows the bytes of the report.
struct Endorsed {
    Report report;
    Endorsement endorsement;
};

/// `chain` presents the endorsement (VCEK or VLEK); helpers are ASK and ASVK, if they are not presented with
/// it. The roots of `verifier` are the ARKs that are trusted. Everything is checked for the sake of the
/// reasons, also of a report whose chain is none.
[[nodiscard]] std::optional<Authenticated<Endorsed>> authenticate(const Parsed<Report>& report,
                                                                  const ChainRequest& chain,
                                                                  ChainVerifier& verifier,
                                                                  Findings& findings);

/// As the report itself says, or, where it does not, as its endorsement does. For output: what the report
/// says of itself is proven only by authenticate().
[[nodiscard]] std::optional<Product> product_of(const Report& report, std::span<const std::byte> presented);

/// REPORT_DATA is exactly these bytes, and zero behind them; the time that takes does not tell where they
/// differ.
[[nodiscard]] std::optional<Bound<Endorsed>> bind_report_data(const Authenticated<Endorsed>& report,
                                                              std::span<const std::byte> expected,
                                                              Findings& findings);

}  // namespace holdfast::attest::snp
