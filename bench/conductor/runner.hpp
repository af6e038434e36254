// SPDX-License-Identifier: Apache-2.0
// Starts measuring programs and takes what they print.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bench/conductor/figures.hpp"
#include "bench/conductor/suites.hpp"

namespace holdfast::bench {

struct Places {
    std::string programs;  ///< where holdfast is; the measuring programs are in bench/ below it
    std::string sources;   ///< where scripts are: bench/ of the source tree, or of the installation
    std::string vectors;   ///< public evidence to verify; may not exist
    std::string scratch;   ///< a folder on a disk, for files that are synced
};

/// Everything that one suite gave, or why it gave nothing.
struct Outcome {
    Figures figures;
    std::string not_measured;
};

/// Runs it `runs` times. `stop` is asked now and then: true ends the program that runs.
[[nodiscard]] Outcome measure(const Suite& suite, bool quick, int runs, const Places& places,
                              const std::function<bool()>& stop);

}  // namespace holdfast::bench
