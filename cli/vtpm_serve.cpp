// SPDX-License-Identifier: Apache-2.0
// holdfast vtpm serve: a vTPM at a Unix socket, for QEMU and libvirt, until a signal.
#include <chrono>
#include <filesystem>

#include <fmt/format.h>
#include <sys/socket.h>

#include "cli/anchor_files.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/resources.hpp"
#include "cli/socket_file.hpp"
#include "cli/soon.hpp"
#include "cli/supervisor.hpp"
#include "cli/vtpm_process.hpp"
#include "sys/socket.hpp"

namespace holdfast::cli {
namespace {

UniqueFd listen_at(const std::string& path) {
    auto listener = soon([&] { return listen_anew(path, SOCK_STREAM); });
    if (listener) return std::move(*listener);
    throw Failure{
        Code::VtpmSocket, fmt::format("the socket '{}' cannot be made", printable(path)),
        reason_of(listener.error()),
        "choose a path in a directory that exists, where nothing is yet, of at most 107 characters"};
}

}  // namespace

int serve_vtpm(const VtpmServeOptions& options, const std::string& state_dir) {
    const VtpmHome home{state_dir};
    // The destination of a migration starts while the source still has the state.
    FoundVtpm found = options.incoming ? home.find_whole(options.name) : home.find_unused(options.name);
    if (options.incoming && AnchorFiles{state_dir}.exist()) {
        throw Failure{Code::NotBuilt, "--incoming cannot be used on a host with an anchor",
                      "anchored vTPMs do not migrate in this version", "serve it without --incoming"};
    }
    const Signals signals;
    const std::string path = std::filesystem::absolute(options.socket).string();
    UniqueFd listener = listen_at(path);
    const SocketFile socket{path};
    auto process = VtpmStart{.name = options.name,
                             .identity = std::move(found.owner.identity),
                             .start = options.incoming ? vtpm::Start::Incoming : vtpm::Start::Stored,
                             .strict = options.strict,
                             .state = open_vtpm_state(found.file),
                             .listener = std::move(listener),
                             .control = {},
                             .data = {},
                             .quotes = options.incoming ? std::string{} : home.quote_socket(options.name)}
                       .launch(home.state_key(), state_dir);
    process.wait_ready();
    print("ready\n");
    while (true) {
        PollSet polls;
        const auto signal = polls.add(signals.fd().get(), POLLIN);
        const auto vtpm = polls.add(process.vtpm().pidfd().get(), POLLIN);
        const auto store = polls.add(process.store().pidfd().get(), POLLIN);
        polls.wait(std::chrono::milliseconds{-1});
        if (polls.ready(vtpm) || polls.ready(store)) process.explain_end();
        if (polls.ready(signal) && signals.take() != 0) break;
    }
    process.leave();
    return 0;
}

}  // namespace holdfast::cli
