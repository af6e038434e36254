// SPDX-License-Identifier: Apache-2.0
// Runs one act in a child that has entered a jail, and says how the child ended.
#pragma once

#include <functional>
#include <ostream>

#include "sys/sandbox/filter.hpp"

namespace holdfast::sandbox {

struct Fate {
    int signal = 0;  ///< that killed it, or 0
    int status = 0;  ///< its exit status otherwise
    bool operator==(const Fate&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Fate& fate);

inline constexpr int kNoJail = 99;  ///< the jail itself could not be entered

/// The child keeps descriptors 0 to 2 and those in `keep`; the act's result is its exit status.
Fate jailed(const Filter& filter, const std::function<int()>& act, std::initializer_list<int> keep = {});

}  // namespace holdfast::sandbox
