// SPDX-License-Identifier: Apache-2.0
// The network of one VM: a tap, one frame a read or write, or passt's stream socket. Frames are not
// looked at. While the guest has no buffers nothing is read: a tap drops, passt waits.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include <sys/types.h>

#include "vmm/io/launch.hpp"
#include "vmm/io/passt.hpp"
#include "vmm/io/request_ring.hpp"

namespace holdfast::io {

/// One thread. `ring` outlives it.
class Net {
public:
    static Result<Net> create(UniqueFd fd, NetKind kind, RequestRing& ring);

    /// Send and Receive jobs; completes them now or in a turn. A frame that cannot be sent is dropped,
    /// as on a wire: the job completes as Ok.
    void start(const Job& job) noexcept;
    /// Something happened on descriptor(); wanted edge-triggered, both directions.
    void event(std::uint32_t events) noexcept;
    /// A bounded piece of work; false when there is nothing to do until the next job or event.
    bool turn() noexcept;
    [[nodiscard]] const UniqueFd& descriptor() const noexcept { return fd_; }

private:
    Net(UniqueFd fd, NetKind kind, RequestRing& ring) noexcept;
    bool send_waiting() noexcept;
    bool receive_waiting() noexcept;
    bool send_frame(const Job& job) noexcept;
    bool write_tap(std::span<const std::byte> frame) noexcept;
    bool write_passt(std::span<const std::byte> frame) noexcept;
    /// Whether a frame was put into `out`, and its size; none: nothing to read now.
    std::optional<std::uint32_t> receive_frame(std::span<std::byte> out) noexcept;
    ssize_t read_tap(std::span<std::byte> out) noexcept;
    std::optional<std::uint32_t> read_passt(std::span<std::byte> out) noexcept;
    void lost(const Error& error) noexcept;

    UniqueFd fd_;
    NetKind kind_;
    RequestRing& ring_;
    std::optional<FrameDecoder> decoder_;  ///< passt only
    std::deque<Job> sending_;              ///< in order; bounded by the ring
    std::vector<Job> receiving_;           ///< last in first out: the fewest arena pages are touched
    std::size_t sent_ = 0;                 ///< bytes of the front of sending_, length included
    bool readable_ = true;
    bool writable_ = true;
    bool gone_ = false;
};

}  // namespace holdfast::io
