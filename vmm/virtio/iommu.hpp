// SPDX-License-Identifier: Apache-2.0
// virtio IOMMU device (Virtio 1.2 §5.13): carries requests from its queue to iommu::virtio::GuestIommu, and
// answers each when it has been done. Left out: fault events, since VFIO reports none.
#pragma once

#include <cstdint>

#include "iommu/virtio/guest_iommu.hpp"
#include "memcrypt/guest_memory.hpp"
#include "vmm/virtio/device.hpp"

namespace holdfast::virtio {

/// One run() answers all that the queue can hold. Let it happen on the vCPU thread that kicked: the guest's
/// processor spins until a request is answered, and the host's IOMMU may take long.
class Iommu final : public Device {
public:
    /// `service` is borrowed; it is this device's alone.
    Iommu(const memcrypt::GuestMemory& memory, iommu::virtio::GuestIommu& service) noexcept;

    Description describe() const noexcept override;
    void start(std::span<Queue> queues, std::uint64_t) noexcept override { queues_ = queues; }
    void stop() noexcept override;
    Result<void> run() noexcept override;

private:
    const memcrypt::GuestMemory& memory_;
    iommu::virtio::GuestIommu& service_;
    std::span<Queue> queues_;
    iommu::virtio::spec::Config config_;
};

}  // namespace holdfast::virtio
