// SPDX-License-Identifier: Apache-2.0
// A VM's TPM: the CRB in front of a vTPM in another process, and the thread that carries commands there
// and responses back. What firmware does with a TPM before an operating system gets it is here too.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "sys/eventfd.hpp"
#include "sys/mapping.hpp"
#include "sys/poller.hpp"
#include "vmm/tpm/crb.hpp"
#include "vtpm/channel/client.hpp"
#include "vtpm/eventlog/event_log.hpp"
#include "vtpm/tpm2/command.hpp"

namespace holdfast::tpm {

/// create(), power_on(), start(), on the owner's thread. A vTPM that is lost later is the guest's affair: its
/// TPM fails and the VM goes on.
class Tpm final : public CommandQueue {
public:
    /// The sockets of a vTPM: control and data, as channel::Client takes them.
    static Result<std::unique_ptr<Tpm>> create(UniqueFd control, UniqueFd data);
    ~Tpm() override;

    /// What firmware does: a TPM Reset, banks SHA-256 and SHA-384 and no other, all of `events` extended, the
    /// platform hierarchy shut, its self-test passed. A Peer error says what the vTPM did not do.
    Result<void> power_on(std::span<const eventlog::Event> events);
    void start();

    /// To be mapped at kCrbRegisters and kCrbBuffer.
    [[nodiscard]] bus::Device& registers() noexcept { return crb_; }
    [[nodiscard]] std::span<std::byte> buffer() const noexcept { return buffer_.bytes(); }

private:
    Tpm(vtpm::channel::Client client, Mapping buffer, EventFd wake, Poller poller) noexcept;
    Result<void> reset();
    Result<bool> allocate_banks();
    Result<tpm2::Response> demand(const tpm2::Message& command, const char* what);

    void command_started() noexcept override;
    void cancel_requested() noexcept override;

    void loop() noexcept;
    Result<void> on_wake();
    Result<void> on_data();
    Result<void> execute();
    void complete(std::span<const std::byte> response) noexcept;
    void lose(const Error& error) noexcept;

    vtpm::channel::Client client_;
    Mapping buffer_;
    Crb crb_;
    EventFd wake_;
    Poller poller_;
    std::atomic<bool> started_ = false;  ///< a command waits in the buffer
    std::atomic<bool> cancel_ = false;
    std::atomic<bool> quit_ = false;
    // The thread's own.
    bool busy_ = false;  ///< the vTPM works on a command
    bool lost_ = false;
    std::jthread thread_;
};

}  // namespace holdfast::tpm
