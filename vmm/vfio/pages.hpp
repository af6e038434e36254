// SPDX-License-Identifier: Apache-2.0
// Guest memory as the IOMMU sees it: what devices may reach is taken out of the encrypted set, page by page,
// for as long as the last grant of it lasts.
#pragma once

#include <functional>
#include <vector>

#include "iommu/space.hpp"
#include "memcrypt/guest_memory.hpp"

namespace holdfast::vfio {

/// One thread at a time: the IOMMU's lock.
class Pages final : public iommu::GuestPages {
public:
    /// `failed` hears that memory can no longer be what it was promised to be: the VM must end.
    Pages(const memcrypt::GuestMemory& memory, std::function<void(const Error&)> failed);

    [[nodiscard]] std::optional<std::span<std::byte>> locate(GuestAddr start,
                                                             std::uint64_t size) const noexcept override;
    Result<void> expose(GuestAddr start, std::uint64_t size) override;
    void conceal(GuestAddr start, std::uint64_t size) noexcept override;

private:
    /// The first page's count, and the guest address that goes with page 0 of that count's region.
    [[nodiscard]] std::span<std::uint32_t> counts_of(GuestAddr start, std::uint64_t size) noexcept;
    template <typename Change>
    Result<void> for_each_run(GuestAddr start, std::span<const std::uint32_t> counts, std::uint32_t wanted,
                              Change change);

    const memcrypt::GuestMemory& memory_;
    const std::function<void(const Error&)> failed_;
    /// How often each page is exposed, in the order of the regions. Empty where nothing is encrypted.
    std::vector<std::uint32_t> counts_;
};

}  // namespace holdfast::vfio
