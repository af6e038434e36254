// SPDX-License-Identifier: Apache-2.0
// holdfast-io: one VM's disks, network, vsock and console, in a jail. Finds its LaunchConfig on
// descriptor 3, opens nothing itself, and ends when the VMM or the command line does.
#include <cstdlib>
#include <vector>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"
#include "vmm/io/server.hpp"

namespace {

using namespace holdfast;

// Every vsock connection has one; the rest is disks and a handful of our own.
constexpr std::uint64_t kMaxDescriptors = io::Vsock::kMaxConnections + 128;

Result<void> serve(const UniqueFd& handover) {
    io::LaunchConfig config = HF_TRY(io::receive_launch(handover));
    const auto server = HF_TRY(io::Server::create(std::move(config), handover));
    // Before the first foreign byte, and after everything that the jail forbids.
    const std::vector<int> keep = server->descriptors();
    HF_TRY(sandbox::enter({.filter = sandbox::policy::io, .keep = keep, .max_descriptors = kMaxDescriptors}));
    HF_TRY(io::send_report(handover, io::Ready{}));
    return server->run();
}

}  // namespace

int main() {
    log::configure("holdfast-io", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    const auto served = serve(handover);
    if (served) return EXIT_SUCCESS;
    log::error("io.failed", served.error());
    // Best effort: whoever started us may be gone.
    [[maybe_unused]] const auto told = io::send_report(handover, io::Failed{served.error().what});
    return EXIT_FAILURE;
}
