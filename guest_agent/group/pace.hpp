// SPDX-License-Identifier: Apache-2.0
// How long a group's epochs last, and how long its members wait for each other.
#pragma once

#include <chrono>

namespace holdfast::agent::group {

/// By this guest's clock, which its host makes: a slow one makes epochs long and patience endless, a fast one
/// makes members leave each other. Neither shows anybody a key.
struct Pace {
    std::chrono::seconds rotation{300};  ///< an epoch lasts so long
    std::chrono::seconds patience{60};   ///< and nobody waits longer for a member when it ends
    std::chrono::seconds renewal{1800};  ///< each member shows evidence again so often
    std::chrono::seconds grace{300};     ///< who has not so long after it should have is left out
};

}  // namespace holdfast::agent::group
