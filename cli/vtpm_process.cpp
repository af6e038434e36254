// SPDX-License-Identifier: Apache-2.0
#include "cli/vtpm_process.hpp"

#include <csignal>

#include <fmt/format.h>
#include <sys/socket.h>

#include "cli/anchor_files.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/resources.hpp"
#include "sys/socket.hpp"
#include "vtpm/state/seal.hpp"
#include "vtpm/store/launch.hpp"

namespace holdfast::cli {
namespace {

using std::chrono::milliseconds;

// What an orderly shutdown may take: one state write, behind whatever the disk has to do.
constexpr milliseconds kLeave{10'000};

Child start_program(const char* program, const UniqueFd& socket, int log) {
    auto child = Child::start(program_directory() + '/' + program, {}, socket, {.err = log});
    if (child) return std::move(*child);
    throw Failure{Code::Programs, fmt::format("{} cannot be started", program), reason_of(child.error()),
                  "look at the host's process limits; else reinstall Holdfast"};
}

/// A door to the anchor and the end that the worker gets; neither, where this host has none.
std::pair<AnchorDoor, UniqueFd> open_door(const std::string& state_dir, const std::string& name, bool strict,
                                          int log) {
    const AnchorFiles files{state_dir};
    if (!files.exist() && strict) {
        throw Failure{Code::AnchorStopped, fmt::format("the vTPM '{}' cannot be strict", name),
                      "this host has no anchor: an old copy of its state would be accepted",
                      "holdfast anchor init makes one; or start it without that"};
    }
    if (!files.exist()) {
        write_text(log < 0 ? STDERR_FILENO : log,
                   fmt::format("holdfast: the vTPM '{}' is not anchored: an old copy of its state would be "
                               "accepted (this host has no anchor; holdfast anchor init makes one)\n",
                               name));
        return {};
    }
    if (const auto serves = connect_unix(files.socket(), SOCK_SEQPACKET); !serves) {
        throw Failure{Code::AnchorStopped,
                      fmt::format("the vTPM '{}' does not start without this host's anchor", name),
                      fmt::format("nobody answers at {}: {}", files.socket(), reason_of(serves.error())),
                      "holdfast anchor status says why; holdfast anchor serve runs it"};
    }
    auto [ours, theirs] = expect(socket_pair(SOCK_SEQPACKET));
    return {AnchorDoor{std::move(ours), files.socket()}, std::move(theirs)};
}

/// None, and a line in the log, where there can be none: then the evidence of this vTPM has no quote.
UniqueFd listen_for_quotes(const std::string& path, int log) {
    if (path.empty()) return {};
    auto listener = listen_anew(path, SOCK_SEQPACKET);
    if (listener) return std::move(*listener);
    write_text(log < 0 ? STDERR_FILENO : log,
               fmt::format("holdfast: the host cannot ask this vTPM for quotes: {}: {}\n", printable(path),
                           reason_of(listener.error())));
    return {};
}

}  // namespace

VtpmProcess VtpmStart::launch(const SecretBytes& host_key, const std::string& state_dir) && {
    auto [door, anchor] = open_door(state_dir, name, strict, log);
    auto [store_ours, store_theirs] = expect(socket_pair(SOCK_SEQPACKET));
    auto [vtpm_ours, vtpm_theirs] = expect(socket_pair(SOCK_SEQPACKET));
    auto [client, service] = expect(socket_pair(SOCK_STREAM));
    const SecretBytes key = expect(vtpm::derive_state_key(host_key, identity));

    UniqueFd quotes_listener = listen_for_quotes(quotes, log);
    VtpmProcess process;
    process.name_ = name;
    if (quotes_listener) process.quotes_ = SocketFile{quotes};
    process.door_ = std::move(door);
    process.socket_ = std::move(vtpm_ours);
    // The one that takes longer to begin comes first.
    process.vtpm_ = start_program("holdfast-vtpm", vtpm_theirs, log);
    process.store_ = start_program("holdfast-store", store_theirs, log);
    // A child that is gone already is seen, and explained, when its word is waited for.
    [[maybe_unused]] const auto to_store =
        vtpm::store::send_launch(store_ours, {.client = std::move(service), .state = std::move(state)});
    [[maybe_unused]] const auto to_vtpm = vtpm::send_launch(process.socket_,
                                                            {.identity = std::move(identity),
                                                             .start = start,
                                                             .tenant = tenant,
                                                             .strict = strict,
                                                             .state = std::move(client),
                                                             .listener = std::move(listener),
                                                             .control = std::move(control),
                                                             .data = std::move(data),
                                                             .quotes = std::move(quotes_listener),
                                                             .anchor = std::move(anchor)},
                                                            key);
    return process;
}

void VtpmProcess::wait_ready() {
    auto report = vtpm::receive_report(socket_);
    if (!report || !*report) explain_end();
    if ((*report)->ready) return;
    const std::string why = printable((*report)->detail);
    if ((*report)->input) {
        throw Failure{
            Code::VtpmState, fmt::format("the state of the vTPM '{}' cannot be used", name_), why,
            "it was left as it is: bring back the newest backup of its file, and the host's key with it"};
    }
    throw Failure{Code::VtpmFailed, fmt::format("the vTPM '{}' could not be started", name_), why,
                  "its log above may say more"};
}

void VtpmProcess::leave() {
    ::shutdown(socket_.get(), SHUT_WR);
    PollSet polls;
    const auto gone = polls.add(vtpm_.pidfd().get(), POLLIN);
    polls.wait(kLeave);
    if (!polls.ready(gone)) vtpm_.kill(SIGKILL);
    const Ending ending = expect(vtpm_.wait());
    const Ending store = expect(store_.wait());
    if (ending.signalled || ending.value != 0 || store.signalled || store.value != 0) {
        throw Failure{
            Code::VtpmFailed, fmt::format("the vTPM '{}' did not shut down in an orderly way", name_),
            fmt::format("holdfast-vtpm: {}; holdfast-store: {}", ending_words(ending), ending_words(store)),
            "its state is that of the last command it answered"};
    }
}

void VtpmProcess::explain_end() {
    vtpm_.kill(SIGKILL);  // where it is only its socket that is gone
    const Ending ending = expect(vtpm_.wait());
    const Ending store = expect(store_.wait());
    throw Failure{
        Code::VtpmFailed, fmt::format("the vTPM '{}' has ended", name_),
        fmt::format("holdfast-vtpm: {}; holdfast-store: {}", ending_words(ending), ending_words(store)),
        "its log above may say more; its state is that of the last command it answered"};
}

AttachedVtpm start_vtpm(const std::string& state_dir, const std::string& name, bool strict, int log) {
    const VtpmHome home{state_dir};
    if (!home.has(name)) make_vtpm(state_dir, name, {});
    FoundVtpm found = home.find_unused(name);
    auto [control, control_theirs] = expect(socket_pair(SOCK_STREAM));
    auto [data, data_theirs] = expect(socket_pair(SOCK_STREAM));
    return {.process = VtpmStart{.name = name,
                                 .identity = std::move(found.owner.identity),
                                 .start = vtpm::Start::Stored,
                                 .strict = strict,
                                 .state = open_vtpm_state(found.file),
                                 .listener = {},
                                 .control = std::move(control_theirs),
                                 .data = std::move(data_theirs),
                                 .quotes = home.quote_socket(name),
                                 .log = log}
                           .launch(home.state_key(), state_dir),
            .control = std::move(control),
            .data = std::move(data)};
}

}  // namespace holdfast::cli
