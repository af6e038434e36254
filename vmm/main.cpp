// SPDX-License-Identifier: Apache-2.0
// holdfast-vmm: one a VM. Receives its descriptors, jails itself, builds the machine, runs it, and
// says how it ended. It has no paths and no network.
#include <csignal>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "vmm/launch.hpp"
#include "vmm/machine.hpp"

namespace holdfast::vmm {
namespace {

Result<Ended> launch_and_run(const UniqueFd& handover) {
    Launch launch = HF_TRY(receive_launch(handover));
    const auto machine = HF_TRY(Machine::create(launch.config, std::move(launch.fds), handover));
    HF_TRY(send_started(handover));
    return machine->run();
}

}  // namespace
}  // namespace holdfast::vmm

int main() {
    using namespace holdfast;
    log::configure("holdfast-vmm", log::Level::Info);
    ::signal(SIGPIPE, SIG_IGN);
    const UniqueFd handover{kHandoverFd};
    auto ended = vmm::launch_and_run(handover);
    if (!ended) {
        log::error("vmm.failed", ended.error());
        ended = vmm::Ended{.reason = vmm::EndReason::Failure, .detail = ended.error().what, .control_session = {}};
    }
    if (const auto sent = vmm::send_ended(handover, *ended); !sent) log::error("vmm.report", sent.error());
    return static_cast<int>(ended->reason);
}
