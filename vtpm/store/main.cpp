// SPDX-License-Identifier: Apache-2.0
// holdfast-store: makes the sealed state of a vTPM durable. Gets the state file and a socket to
// holdfast-vtpm on descriptor 3, jails itself, and sees ciphertext only.
#include <array>
#include <cstdlib>

#include <unistd.h>

#include "sys/log.hpp"
#include "sys/process.hpp"
#include "sys/program_pages.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"
#include "vtpm/store/launch.hpp"
#include "vtpm/store/session.hpp"

namespace {

using namespace holdfast;

Result<void> serve(const UniqueFd& handover) {
    vtpm::store::LaunchFds fds = HF_TRY(vtpm::store::receive_launch(handover));
    const std::array keep{STDIN_FILENO,   STDOUT_FILENO,    STDERR_FILENO,
                          handover.get(), fds.client.get(), fds.state.get()};
    HF_TRY(sandbox::enter({.filter = sandbox::policy::store, .keep = keep}));
    // Most of them were for the start: 500 KiB of memory for each vTPM.
    drop_program_pages();
    return vtpm::store::Session{std::move(fds.client), std::move(fds.state)}.run();
}

}  // namespace

int main() {
    log::configure("holdfast-store", log::Level::Info);
    const UniqueFd handover{kHandoverFd};
    const auto served = serve(handover);
    if (served) return EXIT_SUCCESS;
    log::error("store.failed", served.error());
    return EXIT_FAILURE;
}
