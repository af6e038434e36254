// SPDX-License-Identifier: Apache-2.0
// virtio block device (Virtio 1.2 §5.2) on a disk of the I/O process. Left out: several queues,
// zones, secure erase, lifetime, and the writeback switch (the cache is always writeback: FLUSH).
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "vmm/io/client.hpp"
#include "vmm/virtio/device.hpp"

namespace holdfast::virtio {

struct BlockShape {
    io::ResourceId disk;
    std::uint64_t size_bytes = 0;  ///< whole sectors of 512 bytes
    bool read_only = false;
    std::string_view serial;  ///< at most 20 bytes are shown to the guest
};

/// Requests of one kind that were carried out. The device's thread counts, any thread may read.
struct BlockTally {
    std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint64_t> bytes{0};
    std::atomic<std::uint64_t> nanoseconds{0};
};

class Block final : public Device {
public:
    static constexpr std::uint16_t kQueueSize = 256;
    static constexpr std::uint32_t kMaxDataSegments = kMaxSegments - 2;
    static constexpr std::uint32_t kMaxData = kMaxDataSegments * io::kSlotSize;

    Block(const memcrypt::GuestMemory& memory, io::Client& client, const BlockShape& shape);

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t features) noexcept override;
    void stop() noexcept override;
    Result<void> run() noexcept override;
    Result<void> complete(io::Completion completion) noexcept override;
    bool is_idle() const noexcept override { return parts_in_flight_ == 0; }

    [[nodiscard]] const BlockTally& reads() const noexcept { return reads_; }
    [[nodiscard]] const BlockTally& writes() const noexcept { return writes_; }  ///< zeroes too
    [[nodiscard]] const BlockTally& flushes() const noexcept { return flushes_; }
    [[nodiscard]] const BlockTally& discards() const noexcept { return discards_; }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kSerialSize = 20;
    static constexpr std::size_t kConfigSize = 60;

    /// One chain. Its data crosses in parts of a slot each.
    struct Request {
        Chain chain;
        io::Op op = io::Op::Flush;
        std::uint8_t status = 0;
        std::uint32_t parts_in_flight = 0;
        std::uint64_t disk_offset = 0;
        std::uint32_t bytes = 0;   ///< data, or the length of a discard
        std::uint32_t issued = 0;  ///< of bytes
        Clock::time_point taken;
    };
    /// Whether there is something for the I/O process to do, or the chain was answered.
    enum class Verdict : std::uint8_t { Issue, Done };

    Result<Verdict> judge(Request& request);
    Result<Verdict> judge_data(Request& request, std::uint64_t sector, std::uint64_t bytes);
    Result<Verdict> judge_range(Request& request);
    Result<Verdict> answer(const Request& request, std::uint8_t status, std::uint64_t written = 0);
    Result<bool> issue(std::uint32_t index);
    void count(const Request& request) noexcept;
    [[nodiscard]] std::optional<std::uint32_t> take_request();
    [[nodiscard]] bool lies_on_disk(std::uint64_t sector, std::uint64_t sectors) const noexcept;

    const memcrypt::GuestMemory& memory_;
    io::Client& client_;
    const io::ResourceId disk_;
    const std::uint64_t sectors_;
    const bool read_only_;
    std::array<std::byte, kSerialSize> serial_{};
    std::array<std::byte, kConfigSize> config_{};

    Queue* queue_ = nullptr;
    std::vector<std::unique_ptr<Request>> requests_;  ///< grows to what was ever under way at once
    std::vector<std::uint32_t> free_;
    std::optional<std::uint32_t> waiting_;  ///< judged, not wholly issued: no chain is taken before it
    std::uint32_t parts_in_flight_ = 0;
    BlockTally reads_, writes_, flushes_, discards_;
};

}  // namespace holdfast::virtio
