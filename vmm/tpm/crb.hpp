// SPDX-License-Identifier: Apache-2.0
// A TPM's Command Response Buffer interface (TCG PC Client Platform TPM Profile 1.05, §6.5.3): the registers
// of locality 0, and one page of RAM for commands and responses, which the guest reaches without exits.
// Left out: localities 1 to 4 (of a dynamic launch, which no guest of ours has), interrupts, CRB idle bypass.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/mapping.hpp"
#include "sys/thread.hpp"
#include "vmm/bus/device.hpp"

namespace holdfast::tpm {

// Where every PC has its TPM. The buffer is the page behind the registers' page.
inline constexpr std::uint64_t kCrbRegisters = 0xfed40000;
inline constexpr std::uint64_t kCrbRegistersSize = 0x1000;
inline constexpr std::uint64_t kCrbControlArea = kCrbRegisters + 0x40;
inline constexpr std::uint64_t kCrbBuffer = kCrbRegisters + kCrbRegistersSize;
inline constexpr std::uint32_t kCrbBufferSize = 0x1000;

/// What a guest asks of its TPM. Called on vCPU threads, as often as the guest likes, with no lock held:
/// note it and wake somebody.
class CommandQueue {
public:
    CommandQueue() = default;
    CommandQueue(const CommandQueue&) = delete;
    CommandQueue& operator=(const CommandQueue&) = delete;
    virtual ~CommandQueue() = default;
    /// A command lies in the buffer. Comes again only after Crb::complete().
    virtual void command_started() noexcept = 0;
    /// The command under way, if there is one, may end early.
    virtual void cancel_requested() noexcept = 0;
};

/// Registers on any vCPU thread; take_command(), complete() and fail() on the thread that executes.
class Crb final : public bus::Device {
public:
    /// `buffer` is the page at kCrbBuffer, of kCrbBufferSize bytes. Both are borrowed and outlive this.
    Crb(std::span<std::byte> buffer, CommandQueue& queue) noexcept : buffer_{buffer}, queue_{queue} {}

    [[nodiscard]] std::string_view name() const noexcept override { return "tpm-crb"; }
    void read(std::uint64_t offset, std::span<std::byte> out) noexcept override;
    void write(std::uint64_t offset, std::span<const std::byte> in) noexcept override;

    /// The one copy of what the guest wrote: all of the buffer, of which the command is the front.
    void take_command(std::span<std::byte, kCrbBufferSize> copy) const noexcept;
    /// Ends the command: `response`, at most kCrbBufferSize bytes, is in the buffer and START reads 0.
    void complete(std::span<const std::byte> response) noexcept;
    /// The TPM is lost: the command under way ends with `response`, no other one starts, and the status says
    /// "fatal error" from now on.
    void fail(std::span<const std::byte> response) noexcept;

private:
    enum class State : std::uint8_t { Idle, Ready, Executing };

    [[nodiscard]] std::uint32_t read_register(std::uint64_t offset) const noexcept HF_REQUIRES(lock_);
    enum class Notice : std::uint8_t { None, Start, Cancel };
    [[nodiscard]] Notice write_register(std::uint64_t offset, std::uint32_t value) noexcept
        HF_REQUIRES(lock_);
    [[nodiscard]] Notice request(std::uint32_t value) noexcept HF_REQUIRES(lock_);
    void set_locality(std::uint32_t value) noexcept HF_REQUIRES(lock_);

    std::span<std::byte> buffer_;
    CommandQueue& queue_;
    Mutex lock_;
    State state_ HF_GUARDED_BY(lock_) = State::Idle;
    bool granted_ HF_GUARDED_BY(lock_) = false;      ///< locality 0 is in use
    bool idle_wanted_ HF_GUARDED_BY(lock_) = false;  ///< goIdle came while a command ran
    bool cancel_ HF_GUARDED_BY(lock_) = false;       ///< as written; software clears it
    bool fatal_ HF_GUARDED_BY(lock_) = false;
};

}  // namespace holdfast::tpm
