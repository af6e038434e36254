// SPDX-License-Identifier: Apache-2.0
// PCI configuration through ECAM (PCI Express 5.0 §7.2.2), bus 0 and memory BARs only.
#pragma once

#include <array>
#include <optional>
#include <span>

#include "guest_agent/builtin/machine.hpp"

namespace holdfast::builtin::pci {

// PCI Local Bus 3.0 §6.1 and §6.7: offsets in the header, bits of the command register, capability
// ids.
namespace reg {
inline constexpr u32 VendorId = 0x00, DeviceId = 0x02, Command = 0x04, Status = 0x06, ClassCode = 0x08,
                     HeaderType = 0x0e, Bar0 = 0x10, Capabilities = 0x34;
}
namespace command {
inline constexpr u16 Memory = 1 << 1, BusMaster = 1 << 2;
}
namespace cap {
inline constexpr u8 Vendor = 0x09, MsiX = 0x11;
}

inline constexpr u32 kBars = 6;

struct Device {
    u8 slot, function;
    u16 vendor, device;
    u64 config;  // address of its 4 KiB of ECAM

    template <typename T>
    [[nodiscard]] T read(u32 offset) const {
        return mmio_read<T>(config + offset);
    }
    template <typename T>
    void write(u32 offset, T value) const {
        mmio_write<T>(config + offset, value);
    }
    /// Address of a memory BAR; 0 if there is none. Assigns one that the firmware left out.
    [[nodiscard]] u64 bar(u32 index) const;
    [[nodiscard]] u64 bar_size(u32 index) const;
    [[nodiscard]] bool bar_is_64bit(u32 index) const;
    void enable() const;
    /// Offset of the next capability with this id after `previous` (0: the first), or 0.
    [[nodiscard]] u32 capability(u8 id, u32 previous = 0) const;
};

/// All functions present on bus 0; scanned on the first call.
std::span<const Device> devices();
std::optional<Device> find(u16 vendor, u16 device);

}  // namespace holdfast::builtin::pci
