// SPDX-License-Identifier: Apache-2.0
// holdfast kill
#include "cli/ending.hpp"
#include "cli/options.hpp"

namespace holdfast::cli {

int kill_vm(const KillOptions& options, const std::string& state_dir) {
    const FoundVm vm = find_living_vm(state_dir, options.name);
    SupervisorHandle{state_dir, vm}.end_now();
    return 0;
}

}  // namespace holdfast::cli
