// SPDX-License-Identifier: Apache-2.0
// What a domain stands on: the host's IOMMU on one side, guest memory on the other. Interfaces only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "iommu/mapping.hpp"
#include "sys/result.hpp"

namespace holdfast::iommu {

/// One address space of the host's IOMMU, with the devices in it. Empty when made: they reach nothing.
class Space {
public:
    Space() = default;
    Space(const Space&) = delete;
    Space& operator=(const Space&) = delete;
    virtual ~Space() = default;

    /// Addresses that can be mapped at all, ascending.
    [[nodiscard]] virtual std::span<const IovaRange> usable() const noexcept = 0;
    /// All or nothing. `host` stays mapped in this process until it is unmapped here.
    virtual Result<void> map(Iova start, std::span<std::byte> host, Access access) = 0;
    /// Removes the mappings inside the range, none of which it may split, and returns how many bytes that
    /// were. When it returns, no device can reach them any more.
    virtual Result<std::uint64_t> unmap(IovaRange range) = 0;
    virtual Result<std::uint64_t> unmap_all() = 0;
};

/// Guest memory as a domain needs it; the VM implements it.
class GuestPages {
public:
    GuestPages() = default;
    GuestPages(const GuestPages&) = delete;
    GuestPages& operator=(const GuestPages&) = delete;
    virtual ~GuestPages() = default;

    /// Where [start, start + size) lies in this process; none if it is not wholly inside one range of RAM.
    [[nodiscard]] virtual std::optional<std::span<std::byte>> locate(GuestAddr start,
                                                                     std::uint64_t size) const noexcept = 0;
    /// Devices will reach these pages: they are made clear, stay where they are, and are counted. Pages may
    /// be exposed several times over.
    virtual Result<void> expose(GuestAddr start, std::uint64_t size) = 0;
    /// Takes back one expose() of exactly this range.
    virtual void conceal(GuestAddr start, std::uint64_t size) noexcept = 0;
};

}  // namespace holdfast::iommu
