// SPDX-License-Identifier: Apache-2.0
// The side of the TPM control channel that QEMU has: a vTPM's two sockets, held by the VM that uses it.
// Asked is what a VM without migration needs; spec.hpp has the rest of the protocol.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "vtpm/channel/spec.hpp"

namespace holdfast::vtpm::channel {

/// One TPM message, as long as one can be.
using Buffer = std::array<std::byte, kMaxTpmBuffer>;

/// One thread uses it. A Peer error, or an Os error, means that the vTPM is lost: what its sockets say from
/// then on has no meaning. A request that it refuses is a Peer error too.
class Client {
public:
    /// Gives the vTPM behind `control` its data socket, which it must not have yet (SET_DATAFD).
    static Result<void> set_data_fd(const UniqueFd& control, const UniqueFd& data);

    /// `control` and `data` are connected stream sockets. Another client may have used them before: begin
    /// with stop(), then discard_stale().
    Client(UniqueFd control, UniqueFd data) noexcept : control_{std::move(control)}, data_{std::move(data)} {}

    Result<std::uint32_t> capabilities();
    /// No TPM command runs when this returns.
    Result<void> stop();
    /// Only while stopped; returns what the vTPM will take, which may be less or more.
    Result<std::uint32_t> set_buffer_size(std::uint32_t bytes);
    /// Power on: a TPM Reset, to be followed by TPM2_Startup.
    Result<void> init();
    Result<void> set_locality(std::uint8_t locality);
    /// The process behind the sockets will end.
    Result<void> shutdown();
    /// Returns at once: a server with one thread (swtpm) answers when the command has ended, and takes two
    /// requests that wait for one. So while an answer is due, another cancel is not sent.
    Result<void> request_cancel();

    /// Sends a whole command of 10 to kMaxTpmBuffer bytes. One at a time: its response comes first.
    Result<void> send(std::span<const std::byte> command);
    /// Takes what has come of a response; once it is there whole, a span of it (valid until the next call).
    Result<std::optional<std::span<const std::byte>>> receive();
    /// send(), then receive() until done, for firmware that has nothing else to do. A vTPM that does not
    /// answer for a minute is lost.
    Result<std::span<const std::byte>> transact(std::span<const std::byte> command);
    /// For the end: cancels the command that was sent, if its response has not been received whole, and waits
    /// for what is due, so that the next client of the sockets meets neither.
    Result<void> finish();
    /// Drops what an earlier client has not taken. Only while stopped: then nothing more can come.
    Result<void> discard_stale();

    /// Readable when receive() has something to do.
    [[nodiscard]] const UniqueFd& data() const noexcept { return data_; }

private:
    template <typename Answer>
    Result<Answer> ask(Command command, std::span<const std::byte> arguments = {});
    Result<void> settle();
    Result<std::span<const std::byte>> await_response();

    UniqueFd control_;
    UniqueFd data_;
    bool answer_due_ = false;    ///< to request_cancel(), not yet read
    bool response_due_ = false;  ///< to send(), not yet received whole
    Buffer response_{};
    std::size_t received_ = 0;  ///< of response_
};

}  // namespace holdfast::vtpm::channel
