// SPDX-License-Identifier: Apache-2.0
// virtio network device (Virtio 1.2 §5.1) on the I/O process's network. Left out: checksum and
// segmentation offloads, merged receive buffers, several queue pairs, the control queue.
#pragma once

#include <array>
#include <cstdint>

#include "memcrypt/guest_memory.hpp"
#include "vmm/io/client.hpp"
#include "vmm/virtio/device.hpp"
#include "vmm/virtio/inbox.hpp"

namespace holdfast::virtio {

struct NetShape {
    std::array<std::uint8_t, 6> mac{};
    std::uint16_t mtu = 1500;
};

class Net final : public Device {
public:
    static constexpr std::uint16_t kQueueSize = 256;
    /// Frames on their way out at once: leaves arena slots for the disks.
    static constexpr std::uint32_t kMaxSends = 64;

    Net(const memcrypt::GuestMemory& memory, io::Client& client, const NetShape& shape);

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t) noexcept override { queues_ = queues; }
    void stop() noexcept override;
    Result<void> run() noexcept override;
    Result<void> complete(io::Completion completion) noexcept override;

private:
    static constexpr std::size_t kConfigSize = 12;
    Result<void> run_receive();
    Result<void> run_transmit();
    [[nodiscard]] bool may_send() noexcept;

    const memcrypt::GuestMemory& memory_;
    io::Client& client_;
    const std::uint32_t largest_frame_;
    std::array<std::byte, kConfigSize> config_{};
    std::span<Queue> queues_;
    Inbox inbox_;
    io::Slot spare_;  ///< for the next frame out: a chain is taken only when there is a slot for it
    std::uint32_t sends_ = 0;
};

}  // namespace holdfast::virtio
