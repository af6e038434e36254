// SPDX-License-Identifier: Apache-2.0
// A fake of a VFIO device: its regions are pieces of a memfd, which stands for its descriptor; requests
// behave as the kernel's do, and a reset puts the command register back as it was (seen with Linux 6.12).
#pragma once

#include <cerrno>
#include <cstring>
#include <vector>

#include <linux/vfio.h>
#include <unistd.h>

#include "iommu/host/kernel.hpp"
#include "sys/fd.hpp"

namespace holdfast::vfio {

class FakeDevice final : public iommu::host::Kernel {
public:
    static constexpr std::uint64_t kConfig = 0x10000;
    static constexpr std::uint64_t kBar0 = 0x20000;
    static constexpr std::uint64_t kBar0Size = 0x4000;
    static constexpr std::uint64_t kTable = 0x2000;    // MSI-X table, in BAR 0
    static constexpr std::uint64_t kPending = 0x3000;  // and its pending bits

    FakeDevice() {
        put<std::uint32_t>(kConfig + 0x00, 0x00101b36);
        put<std::uint16_t>(kConfig + 0x04, 0x0103);  // I/O and memory, as firmware left it
        put<std::uint16_t>(kConfig + 0x06, 0x0010);  // capabilities
        put<std::uint32_t>(kConfig + 0x08, 0x01080202);
        put<std::uint32_t>(kConfig + 0x10, 0xfe000004);  // 64 bits
        put<std::uint32_t>(kConfig + 0x2c, 0x11001af4);
        put<std::uint8_t>(kConfig + 0x34, 0x40);
        put<std::uint32_t>(kConfig + 0x40, 0x00005001);  // power management, which is not passed
        put<std::uint32_t>(kConfig + 0x50, (kVectors - 1U) << 16 | 0x0011);
        put<std::uint32_t>(kConfig + 0x54, kTable);
        put<std::uint32_t>(kConfig + 0x58, kPending);
    }

    /// MSI of four vectors where MSI-X was.
    void have_msi_only() {
        put<std::uint32_t>(kConfig + 0x50, 0x00840005);
        interrupts = VFIO_PCI_MSI_IRQ_INDEX;
    }

    template <typename T>
    void put(std::uint64_t at, T value) {
        ASSERT_EQ(::pwrite(file_.get(), &value, sizeof value, static_cast<off_t>(at)),
                  static_cast<ssize_t>(sizeof value));
    }
    template <typename T>
    [[nodiscard]] T at(std::uint64_t at) const {
        T value{};
        EXPECT_EQ(::pread(file_.get(), &value, sizeof value, static_cast<off_t>(at)),
                  static_cast<ssize_t>(sizeof value));
        return value;
    }
    [[nodiscard]] bool masters() const { return (at<std::uint16_t>(kConfig + 4) & 4) != 0; }
    [[nodiscard]] UniqueFd descriptor() const { return file_.duplicate().value(); }

    int ioctl(int, unsigned long number, std::uintptr_t argument) noexcept override {
        switch (number) {
            case VFIO_DEVICE_GET_INFO:
                to<vfio_device_info>(argument).flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
                return 0;
            case VFIO_DEVICE_GET_REGION_INFO: region(to<vfio_region_info>(argument)); return 0;
            case VFIO_DEVICE_GET_IRQ_INFO: {
                auto& info = to<vfio_irq_info>(argument);
                info.count = info.index == interrupts ? kVectors : 0;
                if (info.index == VFIO_PCI_INTX_IRQ_INDEX) info.count = has_line ? 1 : 0;
                return 0;
            }
            case VFIO_DEVICE_SET_IRQS: {
                const auto& request = to<vfio_irq_set>(argument);
                return set_interrupts(request, request.index == VFIO_PCI_INTX_IRQ_INDEX ? line : connected);
            }
            case VFIO_DEVICE_RESET: ++resets; return 0;
            default: errno = ENOTTY; return -1;
        }
    }

    static constexpr std::uint32_t kVectors = 3;
    std::uint32_t interrupts = VFIO_PCI_MSIX_IRQ_INDEX;
    bool has_line = false;
    std::vector<int> connected;
    std::vector<int> line;  ///< what is signalled, and what ends that
    int resets = 0;
    bool mappable = false;

private:
    template <typename T>
    static T& to(std::uintptr_t argument) {
        // SAFETY: as the kernel does, the fake trusts the caller for nothing but the address.
        return *reinterpret_cast<T*>(argument);
    }
    /// One kind is on at a time.
    int set_interrupts(const vfio_irq_set& request, std::vector<int>& events) {
        const bool is_line = request.index == VFIO_PCI_INTX_IRQ_INDEX;
        if (!(is_line ? has_line : request.index == interrupts) || !(is_line ? connected : line).empty())
            return errno = EINVAL, -1;
        if ((request.flags & VFIO_IRQ_SET_ACTION_UNMASK) == 0) events.clear();
        const std::size_t before = events.size();
        events.resize(before + request.count);
        if (request.count != 0) std::memcpy(&events[before], request.data, 4 * request.count);
        return 0;
    }
    void region(vfio_region_info& info) const {
        info.size = 0;
        info.flags = mappable ? VFIO_REGION_INFO_FLAG_MMAP : 0;
        if (info.index == VFIO_PCI_CONFIG_REGION_INDEX) info.offset = kConfig, info.size = 4096;
        if (info.index == 0) info.offset = kBar0, info.size = kBar0Size;
    }
    UniqueFd file_ = sealed_memfd("device", kBar0 + kBar0Size).value();
};

}  // namespace holdfast::vfio
