// SPDX-License-Identifier: Apache-2.0
// virtio console device (Virtio 1.2 §5.3): one port on a stream socket. Left out: several ports,
// emergency write, and the window size.
#pragma once

#include <cstdint>

#include "memcrypt/guest_memory.hpp"
#include "sys/fd.hpp"
#include "vmm/virtio/device.hpp"

namespace holdfast::virtio {

class Console final : public Device {
public:
    /// `stream` is a connected stream socket. While the other end does not read, the guest's chains
    /// stay unfinished; when it is gone, output is dropped.
    Console(const memcrypt::GuestMemory& memory, UniqueFd stream) noexcept
        : memory_{memory}, stream_{std::move(stream)} {}

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t) noexcept override { queues_ = queues; }
    void stop() noexcept override;
    Result<void> run() noexcept override;
    Watch watch() noexcept override;

private:
    Result<void> run_input();
    Result<void> run_output();
    /// Sends what the chain in hand still holds; true when all of it is gone.
    Result<bool> send_chain();

    const memcrypt::GuestMemory& memory_;
    const UniqueFd stream_;
    std::span<Queue> queues_;
    bool open_ = true;          ///< the other end is there
    bool wants_input_ = false;  ///< there is a chain for it
    bool has_output_ = false;   ///< output_ is being sent
    Chain output_;
    std::uint64_t sent_ = 0;  ///< bytes of output_
};

}  // namespace holdfast::virtio
