// SPDX-License-Identifier: Apache-2.0
// Whether Intel vouches, by the PCK certificate, the quoting enclave and its attestation key, for what a
// quote states.
#pragma once

#include <optional>
#include <span>

#include "attest/crypto/x509.hpp"
#include "attest/formats/eventlog/replay.hpp"
#include "attest/formats/tdx/pck.hpp"
#include "attest/formats/tdx/quote.hpp"

namespace holdfast::attest::tdx {

/// A quote with what the certificate of its platform says. Borrows the bytes of the quote.
struct Certified {
    Quote quote;
    Pck pck;
};

/// `known` says at what time, with which revocation lists, and with which certificates besides those of the
/// quote. That the quote is of a TD and not of an SGX enclave is for the policy to say.
[[nodiscard]] std::optional<Authenticated<Certified>> authenticate(const Parsed<Quote>& quote,
                                                                   const ChainRequest& known,
                                                                   ChainVerifier& verifier,
                                                                   Findings& findings);

/// The platform that the quote claims. For output: it is proven only by authenticate().
[[nodiscard]] std::optional<Pck> claimed_pck(const Quote& quote);

/// REPORTDATA is exactly these bytes, and zero behind them; the time that takes does not tell where they
/// differ.
[[nodiscard]] std::optional<Bound<Certified>> bind_report_data(const Authenticated<Certified>& quote,
                                                               std::span<const std::byte> expected,
                                                               Findings& findings);

/// RTMR 0-2, numbered as in the CCEL log that explains them (register 0 is MRTD). RTMR 3 is left to what runs
/// in the TD, of which that log knows nothing.
[[nodiscard]] eventlog::Vouched vouched_by(const Authenticated<Certified>& quote);

}  // namespace holdfast::attest::tdx
