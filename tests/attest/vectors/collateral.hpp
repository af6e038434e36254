// SPDX-License-Identifier: Apache-2.0
// Intel's part of a case: whom it trusts, and the collateral in its files: a bundle ("collateral"), or the
// pieces as Intel's service gives them ("tcb_info", "qe_identity", "pck_crl", "root_crl").
#pragma once

#include <optional>

#include "attest/formats/tdx/policy.hpp"
#include "tests/attest/vectors/trust.hpp"

namespace holdfast::attest::vectors {

class Intel {
public:
    explicit Intel(const Case& test);
    [[nodiscard]] Trust& trust() { return trust_; }
    [[nodiscard]] ChainRequest known(std::int64_t at) const { return trust_.request({}, at); }
    /// What Intel signed of the collateral.
    [[nodiscard]] tdx::Collateral collateral(std::int64_t at, Findings& findings);

private:
    Trust trust_;
    tdx::Bundle bundle_;
    std::optional<Error> unreadable_;
};

}  // namespace holdfast::attest::vectors
