// SPDX-License-Identifier: Apache-2.0
// holdfast console
#include <csignal>

#include <fmt/format.h>

#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/state.hpp"
#include "cli/supervisor.hpp"
#include "sys/socket.hpp"

namespace holdfast::cli {

int open_console(const ConsoleOptions& options, const std::string& state_dir) {
    const FoundVm vm = find_living_vm(state_dir, options.name);
    const Signals signals;
    auto socket = connect_unix(vm.record.console_socket);
    if (!socket) {
        throw Failure{Code::Console, fmt::format("the console of '{}' cannot be reached", options.name),
                      reason_of(socket.error()), "a console has one client at a time: close the other one"};
    }
    ConsoleRelay relay{std::move(*socket), "leave the console; the VM goes on"};
    if (relay.is_terminal())
        print_error("holdfast: console of {}: Ctrl-A x leaves it, the VM goes on\n", options.name);
    while (!relay.closed()) {
        PollSet polls;
        const auto signal = polls.add(signals.fd().get(), POLLIN);
        relay.prepare(polls);
        polls.wait(std::chrono::milliseconds{-1});
        if (polls.ready(signal) || relay.advance(polls)) break;
    }
    relay.drain();
    return 0;
}

}  // namespace holdfast::cli
