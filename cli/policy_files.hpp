// SPDX-License-Identifier: Apache-2.0
// What the files hold that a policy names. Read once; whoever judges needs none of them any more, and so can
// be in a jail.
#pragma once

#include <string>
#include <vector>

#include "attest/policy/policy.hpp"
#include "cli/enrolled.hpp"

namespace holdfast::cli {

struct PolicyFiles {
    attest::WholePolicy whole;                    ///< complete: with the roots and keys of all files
    std::vector<attest::Certificate> host_roots;  ///< makers of TPMs
    EnrolledHosts enrolled;
};
/// Throws HF-0108.
[[nodiscard]] PolicyFiles read_policy_files(const attest::Policy& policy);

}  // namespace holdfast::cli
