// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/builtin/pci.hpp"

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"

namespace holdfast::builtin::pci {
namespace {

// Where BARs go that nobody assigned: the upper half of the 32-bit window, away from what firmware
// fills from below.
constexpr u64 kWindow = 0xd0000000;
constexpr u64 kWindowEnd = 0xe0000000;

std::array<Device, 64> list;
std::size_t count;
bool is_scanned;
u64 next_bar = kWindow;

u64 config_address(u32 slot, u32 function) {
    return acpi::tables().ecam + (u64{slot} << 15 | u64{function} << 12);
}

void scan() {
    for (u32 slot = 0; slot < 32; ++slot) {
        u32 functions = 1;
        for (u32 function = 0; function < functions; ++function) {
            const u64 config = config_address(slot, function);
            const auto id = mmio_read<u32>(config);
            if ((id & 0xffff) == 0xffff) continue;
            const bool multifunction = (mmio_read<u8>(config + reg::HeaderType) & 0x80) != 0;
            if (function == 0 && multifunction) functions = 8;
            if (count == list.size()) return;
            list[count++] = {.slot = static_cast<u8>(slot),
                             .function = static_cast<u8>(function),
                             .vendor = static_cast<u16>(id),
                             .device = static_cast<u16>(id >> 16),
                             .config = config};
        }
    }
}

}  // namespace

std::span<const Device> devices() {
    if (!is_scanned) {
        is_scanned = true;
        scan();
    }
    return std::span{list}.first(count);
}

std::optional<Device> find(u16 vendor, u16 device) {
    for (const Device& d : devices()) {
        if (d.vendor == vendor && d.device == device) return d;
    }
    return std::nullopt;
}

bool Device::bar_is_64bit(u32 index) const { return (read<u32>(reg::Bar0 + 4 * index) & 0x7) == 4; }

u64 Device::bar_size(u32 index) const {
    const u32 at = reg::Bar0 + 4 * index;
    const auto low = read<u32>(at);
    if ((low & 1) != 0) return 0;  // a port BAR
    write(at, ~u32{0});
    u64 mask = read<u32>(at) & ~u32{0xf};
    write(at, low);
    if (mask == 0) return 0;
    if ((low & 0x6) == 4) {
        const auto high = read<u32>(at + 4);
        write(at + 4, ~u32{0});
        mask |= u64{read<u32>(at + 4)} << 32;
        write(at + 4, high);
    } else {
        mask |= u64{0xffffffff} << 32;
    }
    return ~mask + 1;
}

u64 Device::bar(u32 index) const {
    const u32 at = reg::Bar0 + 4 * index;
    const auto low = read<u32>(at);
    if ((low & 1) != 0) return 0;
    u64 address = low & ~u32{0xf};
    if ((low & 0x6) == 4) address |= u64{read<u32>(at + 4)} << 32;
    if (address == 0) {
        const u64 size = bar_size(index);
        if (size == 0) return 0;
        address = (next_bar + size - 1) & ~(size - 1);
        if (address + size > kWindowEnd) fail("PCI window full");
        next_bar = address + size;
        write(at, static_cast<u32>(address));
        if ((low & 0x6) == 4) write(at + 4, u32{0});
    }
    if (!memory::map(address, 1)) fail("BAR at ", Hex{address}, " is out of reach");
    enable();
    return address;
}

void Device::enable() const {
    const auto now = read<u16>(reg::Command);
    const auto wanted = static_cast<u16>(now | command::Memory | command::BusMaster);
    if (now != wanted) write(reg::Command, wanted);
}

u32 Device::capability(u8 id, u32 previous) const {
    if ((read<u16>(reg::Status) & 0x10) == 0) return 0;
    u32 at = read<u8>(previous == 0 ? reg::Capabilities : previous + 1);
    for (u32 steps = 0; at >= 0x40 && steps < 48; ++steps) {  // as many as fit in 192 bytes
        if (read<u8>(at) == id) return at;
        at = read<u8>(at + 1);
    }
    return 0;
}

}  // namespace holdfast::builtin::pci
