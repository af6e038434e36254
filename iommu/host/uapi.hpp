// SPDX-License-Identifier: Apache-2.0
// iommufd and the VFIO device files that go with it (Linux 6.6, include/uapi/linux/iommufd.h and vfio.h).
// Debian 12's headers (6.1) have neither; names, numbers and layouts are the kernel's.
#pragma once

#include <cstdint>

#include <linux/vfio.h>

namespace holdfast::iommu::host::uapi {

struct iommu_destroy {
    std::uint32_t size;
    std::uint32_t id;
};
struct iommu_ioas_alloc {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t out_ioas_id;
};
struct iommu_iova_range {
    std::uint64_t start;
    std::uint64_t last;
};
struct iommu_ioas_iova_ranges {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint32_t num_iovas;
    std::uint32_t reserved;
    std::uint64_t allowed_iovas;
    std::uint64_t out_iova_alignment;
};
struct iommu_ioas_map {
    std::uint32_t size;
    std::uint32_t flags;
    std::uint32_t ioas_id;
    std::uint32_t reserved;
    std::uint64_t user_va;
    std::uint64_t length;
    std::uint64_t iova;
};
struct iommu_ioas_unmap {
    std::uint32_t size;
    std::uint32_t ioas_id;
    std::uint64_t iova;
    std::uint64_t length;
};
struct vfio_device_bind_iommufd {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::int32_t iommufd;
    std::uint32_t out_devid;
};
struct vfio_device_attach_iommufd_pt {
    std::uint32_t argsz;
    std::uint32_t flags;
    std::uint32_t pt_id;
};
static_assert(sizeof(iommu_ioas_iova_ranges) == 32 && sizeof(iommu_ioas_map) == 40);
static_assert(sizeof(iommu_ioas_unmap) == 24 && sizeof(vfio_device_bind_iommufd) == 16);

inline constexpr std::uint32_t IOMMU_IOAS_MAP_FIXED_IOVA = 1 << 0;
inline constexpr std::uint32_t IOMMU_IOAS_MAP_WRITEABLE = 1 << 1;
inline constexpr std::uint32_t IOMMU_IOAS_MAP_READABLE = 1 << 2;

inline constexpr unsigned long IOMMU_DESTROY = _IO(';', 0x80);
inline constexpr unsigned long IOMMU_IOAS_ALLOC = _IO(';', 0x81);
inline constexpr unsigned long IOMMU_IOAS_IOVA_RANGES = _IO(';', 0x84);
inline constexpr unsigned long IOMMU_IOAS_MAP = _IO(';', 0x85);
inline constexpr unsigned long IOMMU_IOAS_UNMAP = _IO(';', 0x86);
inline constexpr unsigned long DEVICE_BIND_IOMMUFD = _IO(VFIO_TYPE, VFIO_BASE + 18);
inline constexpr unsigned long DEVICE_ATTACH_IOMMUFD_PT = _IO(VFIO_TYPE, VFIO_BASE + 19);

}  // namespace holdfast::iommu::host::uapi
