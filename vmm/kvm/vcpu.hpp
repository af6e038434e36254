// SPDX-License-Identifier: Apache-2.0
// One virtual CPU: its state before the first instruction, and running it until it exits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "sys/fd.hpp"
#include "sys/mapping.hpp"
#include "vmm/kvm/entry.hpp"
#include "vmm/kvm/uapi.hpp"

namespace holdfast::kvm {

enum class ExitKind : std::uint8_t {
    PortRead,
    PortWrite,
    MmioRead,
    MmioWrite,
    Interrupted,  ///< kicked, or a signal: look at what is wanted and run again
    Shutdown,     ///< triple fault
    Unsupported,  ///< KVM cannot go on with this guest; `reason` says why
};

struct Exit {
    ExitKind kind = ExitKind::Interrupted;
    std::uint64_t address = 0;  ///< port or guest-physical address
    std::span<std::byte> data;  ///< to fill (reads) or to use (writes), valid until run() is next called
    std::uint8_t width = 0;     ///< ports: bytes an access; data holds size()/width of them
    std::string_view reason;    ///< Unsupported
    std::uint64_t detail = 0;   ///< Unsupported: KVM's number for it
};

/// Everything on the thread that runs it, except kick_target().
class Vcpu {
public:
    /// Takes over a vCPU descriptor with its CPUID set; maps the run structure.
    static Result<Vcpu> create(UniqueFd fd, std::size_t run_size);

    /// State of the boot CPU. The others wait for the guest's start-up interrupt.
    Result<void> set_entry(const EntryState& entry);
    Result<void> set_boot_msrs();

    /// Enters the guest until something is wanted of us.
    Exit run() noexcept;
    /// Makes the run() under way, or the next one, return at once. Async-signal-safe; for this vCPU's
    /// thread (its signal handler) only.
    void stop_soon() noexcept;
    void clear_stop() noexcept;
    /// Tells a guest that uses kvmclock that it was paused, so that its watchdogs stay calm.
    void note_pause() const noexcept;
    /// For the log, when a guest cannot go on. 0 if it cannot be read.
    [[nodiscard]] std::uint64_t instruction_pointer() const noexcept;

private:
    Vcpu(UniqueFd fd, Mapping run) noexcept : fd_{std::move(fd)}, run_{std::move(run)} {}
    [[nodiscard]] kvm_run& state() const noexcept;
    [[nodiscard]] Exit decode() noexcept;
    UniqueFd fd_;
    Mapping run_;
};

}  // namespace holdfast::kvm
