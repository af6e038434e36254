// SPDX-License-Identifier: Apache-2.0
// A machine that only remembers what it was told.
#pragma once

#include <functional>

#include "vmm/control/machine.hpp"

namespace holdfast::control {

class FakeMachine final : public Machine {
public:
    std::string name() const override { return vm_name; }
    RunState run_state() const override { return state; }
    std::vector<pid_t> cpu_threads() const override { return {101, 102}; }
    std::vector<BlockDevice> block_devices() const override {
        return {{.name = "disk0", .size_bytes = 1ULL << 40, .read_only = true, .reads = {3, 12288, 90}}};
    }
    std::vector<Chardev> chardevs() const override { return {{"serial0", "unix:console", true}}; }

    std::optional<MemoryStatistics> memory_statistics() const override { return statistics; }
    std::vector<DeviceGrant> device_grants(std::uint64_t) const override { return grants; }
    Result<void> seal_memory() override { return ++seals, Result<void>{}; }

    Result<void> stop() override {
        if (fails.what[0] != '\0') return fails;
        state = RunState::Paused;
        if (on_stop) on_stop();
        return {};
    }
    Result<void> resume() override {
        state = RunState::Running;
        return {};
    }
    Result<void> press_power_button() override { return ++presses, Result<void>{}; }
    Result<void> reset() override { return ++resets, Result<void>{}; }
    Result<void> quit() override { return ++quits, Result<void>{}; }

    std::string vm_name = "kelp";
    RunState state = RunState::Running;
    Error fails{};
    std::function<void()> on_stop;
    int presses = 0;
    int resets = 0;
    int quits = 0;
    int seals = 0;
    std::vector<DeviceGrant> grants;
    std::optional<MemoryStatistics> statistics;
};

}  // namespace holdfast::control
