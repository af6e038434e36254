// SPDX-License-Identifier: Apache-2.0
#include "iommu/host/iommufd.hpp"

#include <array>
#include <cerrno>

#include "iommu/host/uapi.hpp"

namespace holdfast::iommu::host {

using namespace uapi;

Result<std::unique_ptr<IommufdSpace>> IommufdSpace::create(UniqueFd iommufd, Kernel& kernel) {
    iommu_ioas_alloc request{.size = sizeof request, .flags = 0, .out_ioas_id = 0};
    HF_TRY(kernel.ask(iommufd, HF_IOMMU_REQUEST(IOMMU_IOAS_ALLOC), &request));
    std::unique_ptr<IommufdSpace> space{new IommufdSpace{std::move(iommufd), kernel, request.out_ioas_id}};
    HF_TRY(space->read_usable());
    return space;
}

IommufdSpace::~IommufdSpace() {
    // Refused while a device is attached; then closing the last descriptor frees it.
    iommu_destroy request{.size = sizeof request, .id = ioas_};
    static_cast<void>(kernel_.ask(iommufd_, HF_IOMMU_REQUEST(IOMMU_DESTROY), &request));
}

Result<void> IommufdSpace::add(const UniqueFd& device) {
    vfio_device_bind_iommufd bind{
        .argsz = sizeof bind, .flags = 0, .iommufd = iommufd_.get(), .out_devid = 0};
    HF_TRY(kernel_.ask(device, HF_IOMMU_REQUEST(DEVICE_BIND_IOMMUFD), &bind));
    vfio_device_attach_iommufd_pt attach{.argsz = sizeof attach, .flags = 0, .pt_id = ioas_};
    HF_TRY(kernel_.ask(device, HF_IOMMU_REQUEST(DEVICE_ATTACH_IOMMUFD_PT), &attach));
    return read_usable();
}

Result<void> IommufdSpace::read_usable() {
    std::array<iommu_iova_range, 256> ranges{};
    iommu_ioas_iova_ranges request{.size = sizeof request,
                                   .ioas_id = ioas_,
                                   .num_iovas = ranges.size(),
                                   .reserved = 0,
                                   // SAFETY: the kernel fills it during the call.
                                   .allowed_iovas = reinterpret_cast<std::uintptr_t>(ranges.data()),
                                   .out_iova_alignment = 0};
    HF_TRY(kernel_.ask(iommufd_, HF_IOMMU_REQUEST(IOMMU_IOAS_IOVA_RANGES), &request));
    if (request.num_iovas > ranges.size()) return Error{Fault::Os, EMSGSIZE, "IOMMU_IOAS_IOVA_RANGES"};
    usable_.clear();
    for (std::uint32_t i = 0; i < request.num_iovas; ++i) {
        usable_.push_back({Iova{ranges[i].start}, Iova{ranges[i].last}});
    }
    return {};
}

Result<void> IommufdSpace::map(Iova start, std::span<std::byte> host, Access access) {
    iommu_ioas_map request{.size = sizeof request,
                           .flags = IOMMU_IOAS_MAP_FIXED_IOVA | IOMMU_IOAS_MAP_READABLE |
                                    (access == Access::ReadWrite ? IOMMU_IOAS_MAP_WRITEABLE : 0U),
                           .ioas_id = ioas_,
                           .reserved = 0,
                           // SAFETY: the kernel pins the pages at this address; nothing here follows it.
                           .user_va = reinterpret_cast<std::uintptr_t>(host.data()),
                           .length = host.size(),
                           .iova = start.value()};
    HF_TRY(kernel_.ask(iommufd_, HF_IOMMU_REQUEST(IOMMU_IOAS_MAP), &request));
    return {};
}

Result<std::uint64_t> IommufdSpace::unmap(IovaRange range) {
    iommu_ioas_unmap request{.size = sizeof request,
                             .ioas_id = ioas_,
                             .iova = range.first.value(),
                             .length = range.last.value() - range.first.value() + 1};
    HF_TRY(kernel_.ask(iommufd_, HF_IOMMU_REQUEST(IOMMU_IOAS_UNMAP), &request));
    return request.length;
}

Result<std::uint64_t> IommufdSpace::unmap_all() {
    iommu_ioas_unmap request{.size = sizeof request, .ioas_id = ioas_, .iova = 0, .length = ~0ULL};
    const auto done = kernel_.ask(iommufd_, HF_IOMMU_REQUEST(IOMMU_IOAS_UNMAP), &request);
    // Unlike type1, it calls an empty range an error.
    if (!done && done.error().os_errno == ENOENT) return 0;
    if (!done) return done.error();
    return request.length;
}

}  // namespace holdfast::iommu::host
