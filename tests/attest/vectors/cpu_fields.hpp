// SPDX-License-Identifier: Apache-2.0
// An SNP report and a TDX quote as the fields of cases.json have them.
#pragma once

#include <optional>

#include "attest/formats/snp/authenticate.hpp"
#include "attest/formats/tdx/authenticate.hpp"
#include "tests/attest/vectors/case.hpp"

namespace holdfast::attest::vectors {

[[nodiscard]] Json snp_fields(const snp::Report& report, std::optional<snp::Product> product);
[[nodiscard]] Json tdx_fields(const tdx::Quote& quote);

}  // namespace holdfast::attest::vectors
