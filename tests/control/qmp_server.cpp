// SPDX-License-Identifier: Apache-2.0
// Our control server in front of a machine that does nothing, for tests that talk to it from outside:
// qmp-server PATH listens there, prints "ready", and ends with `quit`.
#include <array>
#include <cstdio>

#include "sys/log.hpp"
#include "sys/socket.hpp"
#include "vmm/control/server.hpp"

namespace {

using namespace holdfast;

/// Tells what QEMU would tell.
class TestMachine final : public control::Machine {
public:
    std::string name() const override { return "test"; }
    control::RunState run_state() const override { return state_; }
    std::vector<pid_t> cpu_threads() const override { return {1}; }
    std::vector<control::BlockDevice> block_devices() const override {
        return {{.name = "disk0", .size_bytes = 1 << 20}};
    }
    std::vector<control::Chardev> chardevs() const override { return {{"serial0", "unix:console", true}}; }
    std::optional<control::MemoryStatistics> memory_statistics() const override { return std::nullopt; }
    Result<void> seal_memory() override { return {}; }
    Result<void> stop() override { return enter(control::RunState::Paused, control::EventKind::Stop); }
    Result<void> resume() override { return enter(control::RunState::Running, control::EventKind::Resume); }
    Result<void> press_power_button() override {
        server->emit({.kind = control::EventKind::Powerdown});
        return {};
    }
    Result<void> reset() override {
        server->emit({.kind = control::EventKind::Reset, .cause = control::Cause::HostQmpSystemReset});
        return {};
    }
    Result<void> quit() override {
        server->emit({.kind = control::EventKind::Shutdown, .cause = control::Cause::HostQmpQuit});
        over = true;
        return {};
    }
    control::Server* server = nullptr;
    bool over = false;

private:
    Result<void> enter(control::RunState state, control::EventKind event) {
        if (state_ != state) server->emit({.kind = event});
        state_ = state;
        return {};
    }
    control::RunState state_ = control::RunState::Running;
};

Result<void> serve(const char* path) {
    Poller poller = HF_TRY(Poller::create());
    TestMachine machine;
    UniqueFd listener = HF_TRY(listen_unix(path));
    const auto server =
        HF_TRY(control::Server::create(std::move(listener), poller, {.listener = 1, .session = 2}, machine));
    machine.server = server.get();
    std::puts("ready");
    std::fflush(stdout);
    std::array<epoll_event, 4> events{};
    while (!machine.over) {
        const auto ready = HF_TRY(poller.wait(events, -1));
        for (const epoll_event& event : ready) server->on_ready(event.data.u64);
    }
    server->drain(std::chrono::seconds{1});
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    log::configure("qmp-server", log::Level::Warn);
    if (argc != 2) return 2;
    const auto served = serve(argv[1]);
    if (!served) log::error("qmp-server", served.error());
    return served ? 0 : 1;
}
