// SPDX-License-Identifier: Apache-2.0
// holdfast vtpm remove
#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/vtpm_home.hpp"

namespace holdfast::cli {

int remove_vtpm(const VtpmRemoveOptions& options, const std::string& state_dir) {
    const VtpmHome home{state_dir};
    const FoundVtpm found = home.find(options.name);
    if (found.serving) {
        throw Failure{Code::VtpmInUse, fmt::format("the vTPM '{}' is in use", options.name),
                      "a process serves it, or a VM runs with it", "end that first"};
    }
    home.remove(found);
    return 0;
}

}  // namespace holdfast::cli
