// SPDX-License-Identifier: Apache-2.0
// holdfast stop: the ACPI power button by QMP, then a deadline.
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/ending.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/qmp.hpp"

namespace holdfast::cli {

int stop_vm(const StopOptions& options, const std::string& state_dir) {
    const FoundVm vm = find_living_vm(state_dir, options.name);
    const SupervisorHandle supervisor{state_dir, vm};
    {
        // Closed before the wait: the VM has one QMP client at a time.
        QmpClient qmp{vm.record.qmp_socket};
        qmp.execute("system_powerdown");
    }
    // A day is as good as for ever, and fits poll's milliseconds.
    const std::chrono::seconds limit{std::min<std::uint64_t>(options.timeout_seconds, 86'400)};
    if (supervisor.wait(limit)) return 0;
    supervisor.end_now();
    throw Failure{Code::Stubborn,
                  fmt::format("the guest of '{}' did not power off: it was ended hard", options.name),
                  fmt::format("it ignored the power button for {} s", limit.count()),
                  "let the guest handle the button (systemd-logind, acpid), or give a longer --timeout"};
}

}  // namespace holdfast::cli
