// SPDX-License-Identifier: Apache-2.0
// Parts of `holdfast measure` that have a file of their own.
#pragma once

#include "cli/options.hpp"
#include "cli/pcrs.hpp"

namespace holdfast::cli {

struct Measured {
    std::string tier;
    std::string shape;
    std::string digest;  ///< empty: the tier has none
    PcrTexts pcrs;
};
/// Says the first component in which the launch that this evidence states differs; exit status 1 if one does.
/// Whether the evidence is true is not looked at.
int measure_diff(const std::string& evidence, const Measured& expected);

/// Prints the digest as bare hex.
int measure_snp(const MeasureOptions& options);

}  // namespace holdfast::cli
