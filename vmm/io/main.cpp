// SPDX-License-Identifier: Apache-2.0
// holdfast-io: one VM's disks, network, vsock and console, in a jail. Finds its LaunchConfig on
// descriptor 3, opens nothing itself, and ends when the VMM or the command line does.
#include <csignal>
#include <cstdlib>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "vmm/io/server.hpp"

namespace {

using namespace holdfast;

Result<void> serve(const UniqueFd& handover) {
    io::LaunchConfig config = HF_TRY(io::receive_launch(handover));
    const auto server = HF_TRY(io::Server::create(std::move(config), handover));
    // JAIL: sandbox::enter("io") goes here. From here on only what sandbox/policy/x86_64/io.policy lists.
    HF_TRY(io::send_report(handover, io::Ready{}));
    return server->run();
}

}  // namespace

int main() {
    log::configure("holdfast-io", log::Level::Info);
    std::signal(SIGPIPE, SIG_IGN);
    const UniqueFd handover{kHandoverFd};
    const auto served = serve(handover);
    if (served) return EXIT_SUCCESS;
    log::error("io.failed", served.error());
    // Best effort: whoever started us may be gone.
    [[maybe_unused]] const auto told = io::send_report(handover, io::Failed{served.error().what});
    return EXIT_FAILURE;
}
