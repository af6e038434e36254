// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/service.hpp"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <ctime>

#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_agent/agent/boot.hpp"
#include "guest_agent/agent/program.hpp"
#include "guest_agent/agent/vsock.hpp"
#include "sys/boot_clock.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

enum Token : std::uint64_t { kSignals, kButton, kCalls };

constexpr std::int64_t kPatienceMs = 10'000;  ///< for a program that was asked to end

std::int64_t now_ms() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(BootClock::now().time_since_epoch()).count();
}

Result<UniqueFd> open_signals() {
    sigset_t signals;
    ::sigemptyset(&signals);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) ::sigaddset(&signals, signal);
    if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) return os_error("sigprocmask");
    UniqueFd fd{::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)};
    if (!fd) return os_error("signalfd");
    return fd;
}

}  // namespace

Service::Service(Config config, Place place, Poller poller) noexcept
    : config_{std::move(config)}, place_{place}, poller_{std::move(poller)} {}

Result<std::unique_ptr<Service>> Service::create(Config config, Place place) {
    std::unique_ptr<Service> service{new Service{std::move(config), place, HF_TRY(Poller::create())}};
    HF_TRY(service->open_descriptors());
    return service;
}

Result<void> Service::open_descriptors() {
    signals_ = HF_TRY(open_signals());
    HF_TRY(poller_.add(signals_, EPOLLIN, kSignals));
    if (place_ == Place::FirstProcess) {
        button_ = open_power_button();
        if (button_) HF_TRY(poller_.add(button_, EPOLLIN, kButton));
    }
    if (!config_.serve_host) return {};
    auto listener = listen_vsock(call::kGuestPort);
    if (!listener) {
        // A VM without vsock still runs its program.
        log::warn("no_calls_in", listener.error());
        return {};
    }
    calls_.emplace(std::move(*listener), accept_host, poller_, *this, kCalls);
    return calls_->start();
}

Result<void> Service::run() {
    if (place_ == Place::FirstProcess && !config_.program.empty()) {
        program_ = HF_TRY(start_program(config_.program, config_.arguments));
        started_ = true;
    }
    log::info("ready", {{"calls_in", calls_ ? "yes" : "no"}, {"program", started_ ? "yes" : "no"}});
    std::array<epoll_event, 8> events{};
    while (!done_) {
        const int timeout = patience_ends_ms_
                                ? static_cast<int>(std::max<std::int64_t>(0, *patience_ends_ms_ - now_ms()))
                                : -1;
        for (const epoll_event& event : HF_TRY(poller_.wait(events, timeout))) {
            if (event.data.u64 == kSignals) signal_came();
            else if (event.data.u64 == kButton) button_pressed();
            else if (calls_) calls_->event(event.data.u64, event.events);
        }
        if (patience_ends_ms_ && now_ms() >= *patience_ends_ms_) done_ = true;
    }
    return {};
}

void Service::signal_came() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
        if (info.ssi_signo == SIGCHLD) reap();
        else ask_program_to_end();
    }
}

void Service::reap() {
    int status = 0;
    for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != program_) continue;
        program_ = -1;
        program_status_ = status_of(status);
        log::info("program_ended", {{"status", *program_status_}});
        if (config_.power_off || patience_ends_ms_) done_ = true;
    }
}

void Service::button_pressed() {
    std::array<std::byte, 256> events;
    while (::read(button_.get(), events.data(), events.size()) > 0) {
    }
    log::info("power_button");
    ask_program_to_end();
}

void Service::ask_program_to_end() {
    if (program_ < 0) {
        done_ = true;
        return;
    }
    if (patience_ends_ms_) return;
    // The whole session: a shell does not hand signals on.
    ::kill(-program_, SIGTERM);
    patience_ends_ms_ = now_ms() + kPatienceMs;
}

call::Answer Service::answer(const call::Request& request) {
    namespace service = call::guest_service;
    if (request.service != service::kNumber) return call::refusal::kUnknownMethod;
    const Bytes body = request.body.bytes();
    if (request.method == service::kEcho) return std::vector<std::byte>{body.begin(), body.end()};
    // A number that a later version may know; the caller learns that this one does not.
    if (request.method != service::kStatus && request.method != service::kPowerOff) {
        return call::refusal::kUnknownMethod;
    }
    if (!body.empty()) return call::refusal::kMalformed;
    if (request.method == service::kStatus) return call::encode(status());
    if (place_ == Place::FirstProcess) ask_program_to_end();
    return std::vector<std::byte>{};
}

call::Status Service::status() const {
    return {.version = HF_VERSION,
            .state = program_status_ ? "ended" : "running",
            .program_status = program_status_.value_or(-1),
            .uptime_ms = static_cast<std::uint64_t>(now_ms()),
            .has_tpm = ::access("/dev/tpmrm0", F_OK) == 0};
}

}  // namespace holdfast::agent
