// SPDX-License-Identifier: Apache-2.0
// The thread that runs one vCPU: enters the guest, hands its port and memory accesses to the buses,
// and stops when it is told to.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <thread>

#include <pthread.h>

#include "vmm/bus/bus.hpp"
#include "vmm/kvm/vcpu.hpp"

namespace holdfast::vmm {

/// What vCPU threads report to the machine. Called on any vCPU thread, once a thread and cause.
class VcpuEvents {
public:
    VcpuEvents() = default;
    VcpuEvents(const VcpuEvents&) = delete;
    VcpuEvents& operator=(const VcpuEvents&) = delete;
    virtual ~VcpuEvents() = default;
    /// Triple fault: what hardware would answer with a reset.
    virtual void guest_shut_down() noexcept = 0;
    /// KVM cannot go on; the thread has stopped running the guest.
    virtual void guest_stuck(std::string_view reason, std::uint64_t detail, std::uint64_t rip) noexcept = 0;
};

/// Starts paused. Control functions are for one other thread; destruction stops the vCPU.
class VcpuThread {
public:
    struct Buses {
        bus::Bus& ports;
        bus::Bus& memory;
    };
    /// The first call in a process installs the signal that kicks vCPUs.
    VcpuThread(std::uint32_t index, kvm::Vcpu vcpu, Buses buses, VcpuEvents& events);
    ~VcpuThread();
    VcpuThread(const VcpuThread&) = delete;
    VcpuThread& operator=(const VcpuThread&) = delete;

    void resume();
    /// Returns once the vCPU is out of the guest and touches no device.
    void pause();
    /// As the kernel and query-cpus-fast show it.
    [[nodiscard]] int thread_id() const noexcept { return tid_.load(); }

private:
    enum class Want : std::uint8_t { Pause, Run, Stop };
    void body() noexcept;
    void close_jail() noexcept;
    void run_until_wanted_otherwise() noexcept;
    bool handle(const kvm::Exit& exit) noexcept;  ///< false: this vCPU cannot go on
    void want(Want want);

    const std::uint32_t index_;
    kvm::Vcpu vcpu_;
    Buses buses_;
    VcpuEvents& events_;

    std::mutex lock_;  // std types: condition_variable needs them
    std::condition_variable changed_;
    std::atomic<Want> want_ = Want::Pause;
    bool running_ = false;
    bool stuck_ = false;  // the thread's own, as is jailed_
    bool jailed_ = false;
    std::atomic<int> tid_ = 0;
    std::jthread thread_;  // last: starts when all else is there
};

}  // namespace holdfast::vmm
