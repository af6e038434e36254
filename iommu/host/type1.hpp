// SPDX-License-Identifier: Apache-2.0
// The VFIO way of groups: a container with the type1 v2 IOMMU, one group in it (Linux
// Documentation/driver-api/vfio.rst). Dirty tracking and live migration are left out.
#pragma once

#include <memory>
#include <vector>

#include "iommu/host/kernel.hpp"
#include "iommu/space.hpp"

namespace holdfast::iommu::host {

/// What opening a device by its group gives. `group` stays open as long as the device is used.
struct Type1Device {
    UniqueFd container;
    UniqueFd group;
    UniqueFd device;
};
/// Puts the group into the container and opens its device `address` ("0000:01:00.0"). The container maps
/// nothing then. A group of which another driver holds a device is an Input error.
Result<Type1Device> open_type1(UniqueFd container, UniqueFd group, const char* address,
                               Kernel& kernel = Kernel::real());

/// The address space of one container.
class Type1Space final : public Space {
public:
    /// A container that open_type1() has filled.
    static Result<std::unique_ptr<Type1Space>> create(UniqueFd container, Kernel& kernel = Kernel::real());

    [[nodiscard]] std::span<const IovaRange> usable() const noexcept override { return usable_; }
    Result<void> map(Iova start, std::span<std::byte> host, Access access) override;
    Result<std::uint64_t> unmap(IovaRange range) override;
    Result<std::uint64_t> unmap_all() override;

private:
    Type1Space(UniqueFd container, Kernel& kernel, std::vector<IovaRange> usable) noexcept
        : container_{std::move(container)}, kernel_{kernel}, usable_{std::move(usable)} {}

    UniqueFd container_;
    Kernel& kernel_;
    std::vector<IovaRange> usable_;
};

}  // namespace holdfast::iommu::host
