// SPDX-License-Identifier: Apache-2.0
// virtio entropy device (Virtio 1.2 §5.4) on the host's getrandom(2), limited in rate.
#pragma once

#include <cstdint>
#include <optional>

#include "memcrypt/guest_memory.hpp"
#include "sys/rate.hpp"
#include "vmm/virtio/device.hpp"

namespace holdfast::virtio {

class Rng final : public Device {
public:
    static constexpr std::uint64_t kBytesPerSecond = 256 * 1024;
    static constexpr std::uint32_t kMaxRequest = 4096;

    explicit Rng(const memcrypt::GuestMemory& memory) noexcept
        : memory_{memory}, bucket_{kBytesPerSecond, kBytesPerSecond, Clock::now()} {}

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t) noexcept override { queue_ = &queues[0]; }
    void stop() noexcept override;
    Result<void> run() noexcept override;
    std::optional<Clock::time_point> deadline() const noexcept override { return refill_at_; }

private:
    const memcrypt::GuestMemory& memory_;
    TokenBucket bucket_;
    Queue* queue_ = nullptr;
    std::optional<Clock::time_point> refill_at_;  ///< out of tokens until then
};

}  // namespace holdfast::virtio
