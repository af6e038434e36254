// SPDX-License-Identifier: Apache-2.0
// holdfast-vmm: one a VM. Receives its descriptors, jails itself, builds the machine, runs it, and says
// how it ended. It has no paths and no network.
#include <vector>

#include <unistd.h>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"
#include "sys/sandbox/seccomp.hpp"
#include "vmm/launch.hpp"
#include "vmm/machine.hpp"

namespace holdfast::vmm {
namespace {

std::vector<int> descriptors_of(const UniqueFd& handover, const LaunchFds& fds) {
    std::vector<int> open{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, handover.get()};
    for (const UniqueFd LaunchFds::* const member : kLaunchFds) {
        if (fds.*member) open.push_back((fds.*member).get());
    }
    return open;
}

Result<Ended> launch_and_run(const UniqueFd& handover) {
    Launch launch = HF_TRY(receive_launch(handover));
    HF_TRY(sandbox::enter({.filter = sandbox::policy::vmm, .keep = descriptors_of(handover, launch.fds)}));
    const auto machine = HF_TRY(Machine::create(launch.config, std::move(launch.fds), handover));
    HF_TRY(sandbox::install(sandbox::policy::vmm_run, sandbox::Scope::AllThreads));
    HF_TRY(send_started(handover));
    return machine->run();
}

}  // namespace
}  // namespace holdfast::vmm

int main() {
    using namespace holdfast;
    log::configure("holdfast-vmm", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    auto ended = vmm::launch_and_run(handover);
    if (!ended) {
        log::error("vmm.failed", ended.error());
        ended = vmm::Ended{
            .reason = vmm::EndReason::Failure, .detail = ended.error().what, .control_session = {}};
    }
    if (const auto sent = vmm::send_ended(handover, *ended); !sent) log::error("vmm.report", sent.error());
    return static_cast<int>(ended->reason);
}
