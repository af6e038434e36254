// SPDX-License-Identifier: Apache-2.0
// What the control socket may ask of a VM. vmm/machine.cpp implements it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "memcrypt/software/statistics.hpp"
#include "sys/result.hpp"

namespace holdfast::control {

/// QEMU's RunState, as far as our machines have one.
enum class RunState : std::uint8_t { Prelaunch, Running, Paused, Shutdown, GuestPanicked, InternalError };

/// Requests of one kind that a disk has carried out since the VM's start; those that failed are not in it.
struct BlockWork {
    std::uint64_t operations = 0;
    std::uint64_t bytes = 0;
    std::uint64_t nanoseconds = 0;  ///< from taking the request to its answer, summed
};

struct BlockDevice {
    std::string name;  ///< "disk0"; the VMM knows no host path
    std::uint64_t size_bytes = 0;
    bool read_only = false;
    BlockWork reads = {}, writes = {}, flushes = {}, discards = {};
};

struct Chardev {
    std::string label;     ///< "serial0"
    std::string filename;  ///< in QEMU's form, "unix:..."; "" is allowed
    bool open = true;      ///< the guest's side is in use
};

/// How guest memory is doing, where it is encrypted.
struct MemoryStatistics {
    std::string tier;
    std::string suite;
    std::chrono::milliseconds seal_after{0};
    memcrypt::software::Statistics now;
};

/// What a device of the host finds at one address.
struct DeviceGrant {
    std::string device;      ///< its address in the host
    std::uint32_t rule = 0;  ///< of the policy, from 1 on
    bool mapped = false;     ///< else the rest says nothing
    std::uint64_t start = 0;
    std::uint64_t size = 0;
    std::uint64_t target = 0;  ///< guest-physical
    bool writable = false;
    std::uint64_t granted_at_ms = 0;  ///< since 1970
};

/// Called on the main loop's thread while a command is answered. An error's text is what the client
/// reads. A call may emit events through the Server (they come before the answer, as in QEMU), and
/// must not release its session.
class Machine {
public:
    Machine() = default;
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    virtual ~Machine() = default;

    [[nodiscard]] virtual std::string name() const = 0;
    [[nodiscard]] virtual RunState run_state() const = 0;
    /// Thread ids in the order of the vCPUs.
    [[nodiscard]] virtual std::vector<pid_t> cpu_threads() const = 0;
    [[nodiscard]] virtual std::vector<BlockDevice> block_devices() const = 0;
    [[nodiscard]] virtual std::vector<Chardev> chardevs() const = 0;

    /// None: the tier encrypts nothing.
    [[nodiscard]] virtual std::optional<MemoryStatistics> memory_statistics() const = 0;
    /// Puts every clear page away. A guest that runs brings back what it touches.
    virtual Result<void> seal_memory() = 0;

    /// One for each device of the host that the VM has.
    [[nodiscard]] virtual std::vector<DeviceGrant> device_grants(std::uint64_t /*iova*/) const { return {}; }

    /// Both succeed and change nothing where the VM is already so.
    virtual Result<void> stop() = 0;
    virtual Result<void> resume() = 0;
    virtual Result<void> press_power_button() = 0;
    /// These two only note what is to happen: the answer goes out first.
    virtual Result<void> reset() = 0;
    virtual Result<void> quit() = 0;
};

}  // namespace holdfast::control
