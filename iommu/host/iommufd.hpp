// SPDX-License-Identifier: Apache-2.0
// The way of iommufd: one I/O address space (IOAS), devices by their own files (Linux
// Documentation/userspace-api/iommufd.rst). Implemented, not run: Debian's kernels have no iommufd, so this
// was tested against a fake of its requests only.
#pragma once

#include <memory>
#include <vector>

#include "iommu/host/kernel.hpp"
#include "iommu/space.hpp"

namespace holdfast::iommu::host {

class IommufdSpace final : public Space {
public:
    /// `iommufd` is an open /dev/iommu.
    static Result<std::unique_ptr<IommufdSpace>> create(UniqueFd iommufd, Kernel& kernel = Kernel::real());
    ~IommufdSpace() override;

    /// Binds an open /dev/vfio/devices/vfioN and puts the device into this space; closing it takes it out.
    /// Before any mapping: a device narrows what is usable.
    Result<void> add(const UniqueFd& device);

    [[nodiscard]] std::span<const IovaRange> usable() const noexcept override { return usable_; }
    Result<void> map(Iova start, std::span<std::byte> host, Access access) override;
    Result<std::uint64_t> unmap(IovaRange range) override;
    Result<std::uint64_t> unmap_all() override;

private:
    IommufdSpace(UniqueFd iommufd, Kernel& kernel, std::uint32_t ioas) noexcept
        : iommufd_{std::move(iommufd)}, kernel_{kernel}, ioas_{ioas} {}
    Result<void> read_usable();

    UniqueFd iommufd_;
    Kernel& kernel_;
    const std::uint32_t ioas_;
    std::vector<IovaRange> usable_;
};

}  // namespace holdfast::iommu::host
