// SPDX-License-Identifier: Apache-2.0
#include "vmm/virtio/iommu.hpp"

#include <algorithm>
#include <array>
#include <chrono>

namespace holdfast::virtio {

namespace {

namespace spec = iommu::virtio::spec;

// §5.13.2: requests, and events, of which there are none.
constexpr std::size_t kRequests = 0;
constexpr std::size_t kEvents = 1;
constexpr std::array<std::uint16_t, 2> kQueues{64, 16};
static_assert(kQueues[kRequests] <= kChainsPerRun);
/// 4 KiB, 2 MiB and 1 GiB. The smallest is the granule, and must not exceed the guest's page.
constexpr std::uint64_t kPageSizes = (1ULL << 12) | (1ULL << 21) | (1ULL << 30);

std::uint64_t now_ms() noexcept {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

}  // namespace

Iommu::Iommu(const memcrypt::GuestMemory& memory, iommu::virtio::GuestIommu& service) noexcept
    : memory_{memory},
      service_{service},
      config_{.page_size_mask = kPageSizes,
              .input_first = iommu::Limits{}.input.first.value(),
              .input_last = iommu::Limits{}.input.last.value(),
              .domain_first = 0U,
              .domain_last = ~0U,
              .probe_size = iommu::virtio::kProbeBytes,
              .bypass = 0} {}

Description Iommu::describe() const noexcept {
    return {.name = "virtio-iommu",
            .type = spec::TYPE,
            .pci_class = 0x080600,
            .features = spec::F_INPUT_RANGE | spec::F_MAP_UNMAP | spec::F_PROBE,
            .queues = kQueues,
            .config = std::as_bytes(std::span{&config_, 1})};
}

void Iommu::stop() noexcept {
    queues_ = {};
    service_.reset();
}

Result<void> Iommu::run() noexcept {
    if (queues_.empty()) return {};
    queues_[kEvents].set_wanted(false);
    Queue& queue = queues_[kRequests];
    Chain chain;
    for (int budget = kChainsPerRun; budget > 0; --budget) {
        if (!HF_TRY(queue.pop(chain))) break;
        std::array<std::byte, iommu::virtio::kMostRequest> bytes;
        std::array<std::byte, iommu::virtio::kMostAnswer> room;
        const auto request =
            std::span{bytes}.first(std::min<std::uint64_t>(bytes.size(), chain.readable_bytes()));
        HF_TRY(gather(memory_, chain.readable(), 0, request));
        const auto answer =
            std::span{room}.first(std::min<std::uint64_t>(room.size(), chain.writable_bytes()));
        const std::size_t size = service_.serve(request, answer, now_ms());
        HF_TRY(scatter(memory_, chain.writable(), 0, answer.first(size)));
        queue.push(chain.head(), static_cast<std::uint32_t>(size));
    }
    return {};
}

}  // namespace holdfast::virtio
