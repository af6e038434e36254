// SPDX-License-Identifier: Apache-2.0
// holdfast-vmm: one a VM. Receives its descriptors, jails itself, builds the machine, runs it, and says
// how it ended. It has no paths and no network.
#include <vector>

#include <sys/syscall.h>
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
    for (const DeviceFds& device : fds.devices) {
        open.insert(open.end(), {device.container.get(), device.group.get(), device.device.get()});
    }
    return open;
}

/// Not by way of the machine's destructor: a thread may wait for a page of guest memory for ever.
[[noreturn]] void leave(const UniqueFd& handover, const Ended& ended) {
    if (const auto sent = send_ended(handover, ended); !sent) log::error("vmm.report", sent.error());
    ::_exit(static_cast<int>(ended.reason));
}

Result<void> launch_and_run(const UniqueFd& handover) {
    Launch launch = HF_TRY(receive_launch(handover));
    // The jail lets nobody have a pidfd, so the pager gets ours now. Without one it is only slower.
    UniqueFd self{static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0U))};
    std::vector<int> keep = descriptors_of(handover, launch.fds);
    if (self) keep.push_back(self.get());
    HF_TRY(sandbox::enter({.filter = sandbox::policy::vmm, .keep = keep}));
    const auto machine =
        HF_TRY(Machine::create(launch.config, std::move(launch.fds), handover, std::move(self)));
    HF_TRY(sandbox::install(sandbox::policy::vmm_run, sandbox::Scope::AllThreads));
    HF_TRY(send_started(handover, machine->started()));
    leave(handover, machine->run());
}

}  // namespace
}  // namespace holdfast::vmm

int main() {
    using namespace holdfast;
    log::configure("holdfast-vmm", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    const auto done = vmm::launch_and_run(handover);
    check(!done, "the machine has left by itself");
    log::error("vmm.failed", done.error());
    vmm::leave(handover,
               {.reason = vmm::EndReason::Failure, .detail = done.error().what, .control_session = {}});
}
