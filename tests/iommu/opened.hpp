// SPDX-License-Identifier: Apache-2.0
// Opening the device that the tests and measurements on real VFIO are about: HF_DEVICE is its address. And
// plain memory as guest RAM.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <fcntl.h>

#include "iommu/host/type1.hpp"
#include "iommu/space.hpp"

namespace holdfast::iommu {

inline std::string device_address() {
    const char* const address = std::getenv("HF_DEVICE");
    return address == nullptr ? "" : address;
}

inline UniqueFd open_file(const std::string& path) {
    UniqueFd fd{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
    check(static_cast<bool>(fd), path.c_str());
    return fd;
}

inline host::Type1Device open_device(const std::string& address) {
    const auto group =
        std::filesystem::read_symlink("/sys/bus/pci/devices/" + address + "/iommu_group").filename();
    auto opened = host::open_type1(open_file("/dev/vfio/vfio"), open_file("/dev/vfio/" + group.string()),
                                   address.c_str());
    check(opened.has_value(), opened ? "" : opened.error().what);
    return std::move(*opened);
}

/// Guest RAM from 0 on; nothing to open or to seal.
class PlainPages final : public GuestPages {
public:
    explicit PlainPages(std::span<std::byte> ram) : ram_{ram} {}
    [[nodiscard]] std::optional<std::span<std::byte>> locate(GuestAddr start,
                                                             std::uint64_t size) const noexcept override {
        if (start.value() > ram_.size() || size > ram_.size() - start.value()) return std::nullopt;
        return ram_.subspan(start.value(), size);
    }
    Result<void> expose(GuestAddr, std::uint64_t) override { return {}; }
    void conceal(GuestAddr, std::uint64_t) noexcept override {}

private:
    std::span<std::byte> ram_;
};

}  // namespace holdfast::iommu
