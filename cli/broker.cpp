// SPDX-License-Identifier: Apache-2.0
// holdfast broker: holds secrets, and gives each to guests whose evidence passes. It runs where the one who
// owns the secrets trusts the machine, which is seldom the host of the guests.
#include <algorithm>
#include <array>
#include <csignal>
#include <ctime>

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "cli/broker_session.hpp"
#include "cli/connections.hpp"
#include "cli/error.hpp"
#include "cli/inet_address.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/poll_set.hpp"
#include "cli/supervisor.hpp"
#include "sys/sandbox/jail.hpp"
#include "sys/sandbox/policies.hpp"

namespace holdfast::cli {
namespace {

constexpr std::size_t kMaxGuests = 16;  // of 4 MiB at most each

/// `where` is changed to what the kernel gave.
UniqueFd listen_at(const std::string& text, sockaddr_in& where) {
    UniqueFd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
    const int on = 1;
    socklen_t size = sizeof where;
    if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        ::bind(fd.get(), generic(where), sizeof where) < 0 || ::listen(fd.get(), 16) < 0 ||
        ::getsockname(fd.get(), generic(where), &size) < 0) {
        throw Failure{Code::Broker, fmt::format("nobody can connect to '{}'", printable(text)),
                      reason_of(os_error("listen")), "choose an address of this machine that nobody uses"};
    }
    return fd;
}

std::vector<std::string> memories_of(const BrokerConfig& config) {
    std::vector<std::string> files;
    for (const auto& [name, secret] : config.secrets) {
        const std::string& file = secret.policy.last_seen;
        if (!file.empty() && std::ranges::find(files, file) == files.end()) files.push_back(file);
    }
    return files;
}

/// From here on there are no files, no other network than who connects, and no other processes.
void enter_jail() {
    // The C library would look for its file of time zones later.
    ::tzset();
    // The others come as something to poll for, which an ignored signal does not.
    constexpr std::array kIgnored{SIGPIPE};
    const auto jailed = sandbox::enter({.filter = sandbox::policy::broker, .ignored_signals = kIgnored});
    if (jailed) return;
    throw Failure{Code::Broker, "the broker cannot enter its jail", reason_of(jailed.error()),
                  "holdfast doctor says what this machine lacks for it"};
}

}  // namespace

int run_broker(const BrokerOptions& options) {
    sockaddr_in where = inet_address("--listen", options.listen);
    BrokerConfig config = read_broker_config(options.config);
    const auto own = read_identity(config.certificate, config.key);
    // Its process has none of what follows.
    const BrokerKeeper keeper = BrokerKeeper::start(memories_of(config));
    BrokerJudge judge{std::move(config), options.log, keeper};
    const Signals signals;
    const UniqueFd listener = listen_at(options.listen, where);
    enter_jail();
    print("ready {}\n", text_of(where));
    Connections guests{kMaxGuests};
    while (true) {
        PollSet polls;
        const auto signal = polls.add(signals.fd().get(), POLLIN);
        const auto client = polls.add(listener.get(), POLLIN);
        polls.wait(std::chrono::milliseconds{-1});
        if (polls.ready(signal) && signals.take() != 0) return 0;
        if (!polls.ready(client)) continue;
        sockaddr_in peer{};
        socklen_t size = sizeof peer;
        UniqueFd socket{::accept4(listener.get(), generic(peer), &size, SOCK_CLOEXEC | SOCK_NONBLOCK)};
        if (!socket) continue;
        const bool taken =
            guests.take(std::move(socket), [&own, &judge, who = text_of(peer)](const UniqueFd& guest) {
                serve_guest(guest, who, own, judge);
            });
        if (!taken) (void)judge.refuse(text_of(peer), {}, "broker.busy");
    }
}

}  // namespace holdfast::cli
