// SPDX-License-Identifier: Apache-2.0
// Stands in for holdfast-vmm and holdfast-io in tests of the command line: speaks their launch
// protocol and does what the guest's command line says ("do=panic"), but runs no guest. Which of the
// two it is follows from its name.
#include <array>
#include <csignal>
#include <string>
#include <string_view>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sys/process.hpp"
#include "sys/socket.hpp"
#include "vmm/io/launch.hpp"
#include "vmm/launch.hpp"

namespace {

using holdfast::UniqueFd;
using holdfast::vmm::EndReason;

void say(const UniqueFd& socket, std::string_view text) {
    [[maybe_unused]] const auto said = holdfast::write_all(socket, std::as_bytes(std::span{text}));
}

int end(const UniqueFd& socket, EndReason reason, const char* detail, UniqueFd session = {}) {
    holdfast::vmm::Ended ended{.reason = reason, .detail = detail, .control_session = std::move(session)};
    return holdfast::vmm::send_ended(socket, ended) ? 0 : 1;
}

// Just enough of QMP for `stop`: a greeting, and an empty success for every line. The power button
// ends the "guest" unless it is deaf.
bool serve_qmp(const UniqueFd& client, bool deaf) {
    std::array<char, 4096> part;
    const ssize_t got = ::recv(client.get(), part.data(), part.size(), 0);
    if (got <= 0) return false;
    const std::string_view text{part.data(), static_cast<std::size_t>(got)};
    const bool button = text.find("system_powerdown") != std::string_view::npos;
    say(client, text.find("query-status") != std::string_view::npos
                    ? "{\"return\": {\"status\": \"running\", \"running\": true}}\n"
                    : "{\"return\": {}}\n");
    return button && !deaf;
}

int serve(const UniqueFd& socket, const holdfast::vmm::Launch& launch) {
    const bool deaf = launch.config.cmdline.find("deaf") != std::string::npos;
    UniqueFd client;
    while (true) {
        std::array<pollfd, 3> fds{{{launch.fds.control_listener.get(), POLLIN, 0},
                                   {client.get(), POLLIN, 0},
                                   {launch.fds.console.get(), POLLIN, 0}}};
        if (::poll(fds.data(), fds.size(), -1) < 0) return 1;
        if (fds[0].revents != 0) {
            if (auto accepted = holdfast::accept_unix(launch.fds.control_listener)) {
                client = std::move(*accepted);
                say(client, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\n");
            }
        } else if (fds[1].revents != 0) {
            if (serve_qmp(client, deaf)) return end(socket, EndReason::PowerOff, "");
            std::array<char, 1> peek;
            if (::recv(client.get(), peek.data(), 1, MSG_PEEK | MSG_DONTWAIT) == 0) client.reset();
        } else if (fds[2].revents != 0) {
            std::array<char, 256> typed;
            const ssize_t got = ::read(launch.fds.console.get(), typed.data(), typed.size());
            if (got <= 0) return 1;
            say(launch.fds.console, "echo: ");
            say(launch.fds.console, {typed.data(), static_cast<std::size_t>(got)});
        }
    }
}

int be_vmm(const UniqueFd& socket) {
    auto launch = holdfast::vmm::receive_launch(socket);
    if (!launch) return 1;
    const std::string& cmdline = launch->config.cmdline;
    const auto asked = [&](std::string_view word) { return cmdline.find(word) != std::string::npos; };
    if (asked("do=refuse")) return end(socket, EndReason::Failure, "the kernel is neither bzImage nor ELF");
    if (asked("do=die-early")) ::raise(SIGKILL);
    holdfast::vmm::Started started;
    if (asked("digest")) started.launch_digest.emplace().fill(std::byte{0xab});
    if (asked("pcrs")) {
        started.pcrs.push_back({.pcr = 9, .value = {.alg = holdfast::tpm2::Alg::SHA384}});
        started.pcrs.back().value.storage.fill(std::byte{0xcd});
    }
    if (!holdfast::vmm::send_started(socket, started)) return 1;
    say(launch->fds.console, "guest says hello\n");
    if (asked("do=poweroff")) return end(socket, EndReason::PowerOff, "");
    if (asked("do=panic")) return end(socket, EndReason::Panic, "");
    if (asked("do=tamper")) return end(socket, EndReason::Tampered, "page 7");
    if (asked("do=fail")) return end(socket, EndReason::Failure, "KVM_RUN: EFAULT");
    if (asked("do=die")) ::raise(SIGKILL);
    if (asked("do=reboot")) {
        // The second boot finds the file that the first one's disk keeps: none here, so the client
        // that lived through the reboot is the sign.
        if (launch->fds.control_session) {
            const bool expected = launch->config.expected_digest == started.launch_digest;
            return end(socket, EndReason::PowerOff, expected ? "second boot" : "another digest is expected");
        }
        auto pair = holdfast::socket_pair(SOCK_STREAM);
        return end(socket, EndReason::Reboot, "", std::move(pair->first));
    }
    return serve(socket, *launch);
}

int be_io(const UniqueFd& socket) {
    auto config = holdfast::io::receive_launch(socket);
    if (!config) return 1;
    UniqueFd client = std::move(config->console_client);
    if (!holdfast::io::send_report(socket, holdfast::io::Ready{})) return 1;
    while (true) {
        std::array<pollfd, 4> fds{{{socket.get(), POLLIN, 0},
                                   {config->console_guest.get(), POLLIN, 0},
                                   {client.get(), POLLIN, 0},
                                   {config->console_listener.get(), POLLIN, 0}}};
        if (::poll(fds.data(), fds.size(), -1) < 0) return 1;
        std::array<char, 4096> part;
        if (fds[1].revents != 0) {
            const ssize_t got = ::read(config->console_guest.get(), part.data(), part.size());
            if (got <= 0) return 0;
            const std::string_view text{part.data(), static_cast<std::size_t>(got)};
            if (client) say(client, text);
            say(config->console_log, text);
        } else if (fds[2].revents != 0) {
            const ssize_t got = ::read(client.get(), part.data(), part.size());
            if (got <= 0) client.reset();
            else say(config->console_guest, {part.data(), static_cast<std::size_t>(got)});
        } else if (fds[3].revents != 0) {
            if (auto accepted = holdfast::accept_unix(config->console_listener); accepted && !client) {
                client = std::move(*accepted);
            }
        } else if (fds[0].revents != 0) {
            return 0;
        }
    }
}

}  // namespace

int main(int, char** argv) {
    const UniqueFd socket{holdfast::kHandoverFd};
    const bool io = std::string_view{argv[0]}.ends_with("holdfast-io");
    return io ? be_io(socket) : be_vmm(socket);
}
