// SPDX-License-Identifier: Apache-2.0
// virtio socket device (Virtio 1.2 §5.10): checks the guest's headers and turns them into our own
// (vmm/io/vsock_packet.hpp); connections and credit live in the I/O process. Stream sockets only.
#pragma once

#include <array>
#include <cstdint>

#include "memcrypt/guest_memory.hpp"
#include "vmm/io/client.hpp"
#include "vmm/io/vsock_packet.hpp"
#include "vmm/virtio/device.hpp"
#include "vmm/virtio/inbox.hpp"

namespace holdfast::virtio {

class Vsock final : public Device {
public:
    static constexpr std::uint16_t kQueueSize = 128;
    static constexpr std::uint32_t kMaxSends = 64;
    static constexpr std::uint32_t kHostCid = 2;
    /// Payload of one packet in a slot.
    static constexpr std::uint32_t kMaxPayload = io::kSlotSize - sizeof(io::VsockPacket);

    Vsock(const memcrypt::GuestMemory& memory, io::Client& client, std::uint32_t guest_cid);

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t) noexcept override { queues_ = queues; }
    void stop() noexcept override;
    Result<void> run() noexcept override;
    Result<void> complete(io::Completion completion) noexcept override;

private:
    Result<void> run_receive();
    Result<void> run_transmit();
    /// Gives the guest the next piece of the message in front; false when that was the last.
    Result<bool> deliver(const Chain& chain, std::span<const std::byte> message);
    Result<void> send(const Chain& chain);
    [[nodiscard]] bool may_send() noexcept;

    const memcrypt::GuestMemory& memory_;
    io::Client& client_;
    const std::uint32_t guest_cid_;
    std::array<std::byte, 8> config_{};
    std::span<Queue> queues_;
    Inbox inbox_;
    std::uint32_t delivered_ = 0;     ///< payload of the message in front that the guest has
    std::array<io::Slot, 2> spares_;  ///< the largest packet of a guest needs two slots
    std::uint32_t sends_ = 0;
};

}  // namespace holdfast::virtio
