// SPDX-License-Identifier: Apache-2.0
// The disks of one VM: raw files and block devices behind io_uring, or behind plain system calls on
// hosts that forbid it. A write completes after the kernel has taken all of it, a flush after
// fdatasync; every failure is reported.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "vmm/io/launch.hpp"
#include "vmm/io/request_ring.hpp"
#include "vmm/io/uring.hpp"

namespace holdfast::io {

enum class DiskEngine : std::uint8_t { UringIfPermitted, Plain };

/// One thread. `ring` outlives it.
class Disks {
public:
    static Result<Disks> create(std::vector<Disk> disks, RequestRing& ring,
                                DiskEngine engine = DiskEngine::UringIfPermitted);

    /// Judges and starts a request for a disk; it completes into the ring, now or from reap().
    void start(const Job& job) noexcept;
    /// Hands everything started to the kernel. Once a batch.
    Result<void> submit() noexcept;
    /// Completes what the kernel has finished; true if there was anything.
    bool reap() noexcept;
    /// Readable when there is something to reap; none without io_uring.
    [[nodiscard]] const UniqueFd* readable() const noexcept { return uring_ ? &uring_->readable() : nullptr; }
    /// Whether reap() would find something; for spinning.
    [[nodiscard]] bool reapable() const noexcept { return uring_ && uring_->reapable(); }
    void list_descriptors(std::vector<int>& into) const;
    [[nodiscard]] std::uint32_t under_way() const noexcept { return under_way_; }

private:
    /// One request in the kernel.
    struct Flight {
        Job job;
        std::uint32_t done = 0;    ///< bytes of `job` that are finished
        std::uint8_t retries = 0;  ///< without progress
        bool punching = false;     ///< WriteZeroes by a hole, because zeroing is not supported
        std::uint16_t next_free = 0;
    };
    static constexpr std::uint8_t kMaxRetries = 8;

    Disks(std::vector<Disk> disks, RequestRing& ring, std::unique_ptr<Uring> uring);
    [[nodiscard]] Status judge(const Job& job) const noexcept;
    void launch(std::uint32_t id) noexcept;
    void land(std::uint32_t id, int result) noexcept;
    void finish(std::uint32_t id, Status status) noexcept;
    [[nodiscard]] int perform(const Flight& flight) const noexcept;

    std::vector<Disk> disks_;
    RequestRing& ring_;
    std::unique_ptr<Uring> uring_;
    std::unique_ptr<std::array<Flight, kRingEntries>> flights_;
    std::uint16_t first_free_ = 0;
    std::uint32_t under_way_ = 0;
};

}  // namespace holdfast::io
