// SPDX-License-Identifier: Apache-2.0
// What of the jail this host supports, found by trying it: for `holdfast doctor`.
#pragma once

#include <string>
#include <vector>

namespace holdfast::sandbox {

struct Finding {
    const char* name;  ///< "user namespaces"
    bool supported = false;
    bool required = false;  ///< without it nothing is launched
    std::string detail;     ///< "ABI 7", or why not
    std::string fix;        ///< empty if supported
};

/// Tries each part in a child process; changes nothing in the caller, whatever its threads.
[[nodiscard]] std::vector<Finding> probe();

}  // namespace holdfast::sandbox
