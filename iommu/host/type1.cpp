// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/type1.hpp"

#include <array>
#include <cstring>

#include <linux/vfio.h>

namespace holdfast::iommu::host {
namespace {

constexpr std::size_t kInfoBytes = 4096;  ///< some hundred ranges
constexpr std::uint16_t kCapIovaRanges = VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE;

template <typename T>
Result<T> field(std::span<const std::byte> info, std::size_t at) {
    T value{};
    if (at > info.size() || sizeof value > info.size() - at) {
        return Error{Fault::Os, EPROTO, "VFIO_IOMMU_GET_INFO: chain"};
    }
    std::memcpy(&value, info.data() + at, sizeof value);
    return value;
}

/// The ranges from one capability of `info`, at `at`.
Result<std::vector<IovaRange>> ranges_at(std::span<const std::byte> info, std::size_t at) {
    struct Head {
        vfio_info_cap_header header;
        std::uint32_t count;
        std::uint32_t reserved;
    };
    const auto head = HF_TRY(field<Head>(info, at));
    std::vector<IovaRange> ranges;
    for (std::uint32_t i = 0; i < head.count; ++i) {
        const auto range =
            HF_TRY(field<vfio_iova_range>(info, at + sizeof head + i * sizeof(vfio_iova_range)));
        ranges.push_back({Iova{range.start}, Iova{range.end}});
    }
    return ranges;
}

Result<std::vector<IovaRange>> usable_ranges(const UniqueFd& container, Kernel& kernel) {
    alignas(vfio_iommu_type1_info) std::array<std::byte, kInfoBytes> bytes{};
    vfio_iommu_type1_info info{};
    info.argsz = kInfoBytes;
    std::memcpy(bytes.data(), &info, sizeof info);
    HF_TRY(kernel.ask(container, HF_IOMMU_REQUEST(VFIO_IOMMU_GET_INFO), bytes.data()));
    std::memcpy(&info, bytes.data(), sizeof info);
    std::size_t at = (info.flags & VFIO_IOMMU_INFO_CAPS) != 0 ? info.cap_offset : 0;
    // A chain has a handful of members; the bound is for one that loops.
    for (int left = 16; at != 0 && left > 0; --left) {
        const auto header = HF_TRY(field<vfio_info_cap_header>(bytes, at));
        if (header.id == kCapIovaRanges) return ranges_at(bytes, at);
        at = header.next;
    }
    return Error{Fault::Os, EPROTO, "VFIO_IOMMU_GET_INFO: no address ranges"};
}

}  // namespace

Result<Type1Device> open_type1(UniqueFd container, UniqueFd group, const char* address, Kernel& kernel) {
    if (HF_TRY(kernel.ask(container, HF_IOMMU_REQUEST(VFIO_GET_API_VERSION), std::uintptr_t{0})) !=
        VFIO_API_VERSION) {
        return Error{Fault::Os, EPROTO, "VFIO_GET_API_VERSION"};
    }
    for (const auto extension : {std::uintptr_t{VFIO_TYPE1v2_IOMMU}, std::uintptr_t{VFIO_UNMAP_ALL}}) {
        if (HF_TRY(kernel.ask(container, HF_IOMMU_REQUEST(VFIO_CHECK_EXTENSION), extension)) <= 0) {
            return Error{Fault::Os, EOPNOTSUPP, "VFIO_CHECK_EXTENSION"};
        }
    }
    vfio_group_status status{.argsz = sizeof status, .flags = 0};
    HF_TRY(kernel.ask(group, HF_IOMMU_REQUEST(VFIO_GROUP_GET_STATUS), &status));
    if ((status.flags & VFIO_GROUP_FLAGS_VIABLE) == 0) {
        return input_error("a device of the IOMMU group is held by another driver");
    }
    int container_fd = container.get();
    HF_TRY(kernel.ask(group, HF_IOMMU_REQUEST(VFIO_GROUP_SET_CONTAINER), &container_fd));
    HF_TRY(kernel.ask(container, HF_IOMMU_REQUEST(VFIO_SET_IOMMU), std::uintptr_t{VFIO_TYPE1v2_IOMMU}));
    UniqueFd device{HF_TRY(kernel.ask(group, HF_IOMMU_REQUEST(VFIO_GROUP_GET_DEVICE_FD), address))};
    return Type1Device{std::move(container), std::move(group), std::move(device)};
}

Result<std::unique_ptr<Type1Space>> Type1Space::create(UniqueFd container, Kernel& kernel) {
    auto usable = HF_TRY(usable_ranges(container, kernel));
    return std::unique_ptr<Type1Space>{new Type1Space{std::move(container), kernel, std::move(usable)}};
}

Result<void> Type1Space::map(Iova start, std::span<std::byte> host, Access access) {
    vfio_iommu_type1_dma_map request{
        .argsz = sizeof request,
        .flags = VFIO_DMA_MAP_FLAG_READ | (access == Access::ReadWrite ? VFIO_DMA_MAP_FLAG_WRITE : 0U),
        // SAFETY: the kernel pins the pages at this address; nothing here follows it.
        .vaddr = reinterpret_cast<std::uintptr_t>(host.data()),
        .iova = start.value(),
        .size = host.size()};
    HF_TRY(kernel_.ask(container_, HF_IOMMU_REQUEST(VFIO_IOMMU_MAP_DMA), &request));
    return {};
}

Result<std::uint64_t> Type1Space::unmap(IovaRange range) {
    vfio_iommu_type1_dma_unmap request{.argsz = sizeof request,
                                       .flags = 0,
                                       .iova = range.first.value(),
                                       .size = range.last.value() - range.first.value() + 1};
    HF_TRY(kernel_.ask(container_, HF_IOMMU_REQUEST(VFIO_IOMMU_UNMAP_DMA), &request));
    return request.size;
}

Result<std::uint64_t> Type1Space::unmap_all() {
    vfio_iommu_type1_dma_unmap request{
        .argsz = sizeof request, .flags = VFIO_DMA_UNMAP_FLAG_ALL, .iova = 0, .size = 0};
    HF_TRY(kernel_.ask(container_, HF_IOMMU_REQUEST(VFIO_IOMMU_UNMAP_DMA), &request));
    return request.size;
}

}  // namespace holdfast::iommu::host
