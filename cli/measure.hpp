// SPDX-License-Identifier: Apache-2.0
// The SEV-SNP half of `holdfast measure`.
#pragma once

#include "cli/options.hpp"

namespace holdfast::cli {

/// Prints the digest as bare hex.
int measure_snp(const MeasureOptions& options);

}  // namespace holdfast::cli
