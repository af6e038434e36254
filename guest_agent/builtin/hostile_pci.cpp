// SPDX-License-Identifier: Apache-2.0
// Configuration space, BARs, MSI-X tables and I/O ports (PCI Local Bus 3.0 §6, §6.8.2; virtio 1.2
// §4.1.4.9 for the window to the BARs in configuration space).

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/hostile.hpp"
#include "guest_agent/builtin/random.hpp"

namespace holdfast::builtin::hostile {
namespace {

namespace reg = pci::reg;

constexpr u32 kConfigBytes = 4096;
constexpr u32 kSaved = 256;
constexpr u8 kCapPciAccess = 5;  // VIRTIO_PCI_CAP_PCI_CFG

/// Puts the first 256 bytes of configuration space back as they were.
class Saved {
public:
    explicit Saved(const pci::Device& function) : function_{function} {
        for (u32 i = 0; i < words_.size(); ++i) words_[i] = function_.read<u32>(4 * i);
    }
    Saved(const Saved&) = delete;
    Saved& operator=(const Saved&) = delete;
    ~Saved() {
        // BARs before the command register that makes them decode.
        for (u32 i = 2; i < words_.size(); ++i) function_.write(4 * i, words_[i]);
        function_.write(reg::Command, words_[1]);
    }

private:
    const pci::Device& function_;
    std::array<u32, kSaved / 4> words_{};
};

template <typename T>
void fill_config(const pci::Device& function, T value, u32 bytes) {
    for (u32 offset = 0; offset < bytes; offset += sizeof(T)) {
        function.write<T>(offset, value);
        static_cast<void>(function.read<T>(offset));
    }
}

void config_storm(Victim* v) {
    const auto& function = v->device.function();
    const Saved saved{function};
    fill_config<u32>(function, ~u32{0}, kConfigBytes);
    fill_config<u16>(function, 0xffff, kConfigBytes);
    fill_config<u8>(function, 0xff, kSaved);
    fill_config<u32>(function, 0, kConfigBytes);
    for (u32 offset = 0; offset < kSaved; ++offset) {  // unaligned, and across registers
        static_cast<void>(function.read<u32>(offset));
        static_cast<void>(function.read<u64>(offset));
        function.write<u32>(offset, ~u32{0});
        function.write<u64>(offset, ~u64{0});
    }
}

void config_noise(Victim* v) {
    const auto& function = v->device.function();
    const Saved saved{function};
    Random random{9};
    for (u32 i = 0; i < 2000; ++i) {
        function.write(static_cast<u32>(random.below(kSaved / 4)) * 4, static_cast<u32>(random.next()));
    }
}

/// The window from configuration space to the BARs, with every kind of bad aim.
void config_window(Victim* v) {
    const auto& function = v->device.function();
    for (u32 cap = 0; (cap = function.capability(pci::cap::Vendor, cap)) != 0;) {
        if (function.read<u8>(cap + 3) != kCapPciAccess) continue;
        for (const u8 bar : {u8{0}, u8{1}, u8{2}, u8{4}, u8{5}, u8{6}, u8{0xff}}) {
            for (const u32 offset : {0U, 3U, 0xffcU, 0x7ffffffcU, ~0U}) {
                for (const u32 length : {0U, 1U, 2U, 3U, 4U, 8U, ~0U}) {
                    function.write<u8>(cap + 4, bar);
                    function.write<u32>(cap + 8, offset);
                    function.write<u32>(cap + 12, length);
                    static_cast<void>(function.read<u32>(cap + 16));
                    function.write<u32>(cap + 16, ~u32{0});
                }
            }
        }
    }
}

void bars_anywhere(Victim* v) {
    const auto& function = v->device.function();
    const Saved saved{function};
    const auto& tables = acpi::tables();
    const auto others = pci::devices();
    for (u32 bar = 0; bar < pci::kBars; ++bar) {
        const auto old = function.read<u32>(reg::Bar0 + 4 * bar);
        if ((old & 1) != 0 || (old & ~u32{0xf}) == 0) continue;
        const bool wide = function.bar_is_64bit(bar);
        const u64 neighbour = others.back().read<u32>(reg::Bar0) & ~u32{0xf};
        for (const u64 address :
             {u64{0}, u64{0x100000}, v->scratch, boot::memory_end(), neighbour, tables.ecam,
              tables.local_apic, u64{0xfec00000}, u64{0xfffff000}, u64{1} << 40, ~u64{0xfff}}) {
            function.write(reg::Bar0 + 4 * bar, static_cast<u32>(address));
            if (wide) function.write(reg::Bar0 + 4 * bar + 4, static_cast<u32>(address >> 32));
            function.enable();
            *pointer<volatile u64>(v->scratch) = address;  // RAM stays RAM
            if (*pointer<volatile u64>(v->scratch) != address) fail("a BAR hides RAM");
            if (address >= 0xc0000000 && address < 0xfffff000) static_cast<void>(mmio_read<u32>(address));
        }
        if (wide) ++bar;
    }
}

void decoding_off(Victim* v) {
    const auto& function = v->device.function();
    const Saved saved{function};
    function.write<u16>(reg::Command, 0);
    if (v->device.status() == virtio::status::DriverOk) fail("a BAR answers while memory decoding is off");
    v->notify();
    function.write<u16>(reg::Command, pci::command::Memory);  // and no bus master: no DMA
    v->offer(0);
    v->settle();
}

/// Every memory BAR from end to end, with every width, aligned and not.
void bar_pages(Victim* v) {
    const auto& function = v->device.function();
    Random random{3};
    for (u32 bar = 0; bar < pci::kBars; ++bar) {
        const u64 size = function.bar_size(bar);
        if (size == 0) continue;
        const u64 base = function.bar(bar);
        const u64 step = size > kPage ? size / 512 : 4;
        for (u64 offset = 0; offset + 8 <= size; offset += step) {
            const u64 at = base + offset + random.below(2);
            static_cast<void>(mmio_read<u8>(at));
            static_cast<void>(mmio_read<u16>(at));
            static_cast<void>(mmio_read<u32>(at));
            static_cast<void>(mmio_read<u64>(at));
            mmio_write<u8>(at, static_cast<u8>(random.next()));
            mmio_write<u16>(at, static_cast<u16>(random.next()));
            mmio_write<u32>(at, static_cast<u32>(random.next()));
            mmio_write<u64>(at, random.next());
        }
        mmio_write<u64>(base + size - 4, ~u64{0});  // half of it outside
        if (function.bar_is_64bit(bar)) ++bar;
    }
    v->restart();
}

/// Interrupt messages to anywhere. Only the fixed delivery mode: an INIT would be the guest's own
/// end.
void msix_table(Victim* v) {
    const auto& function = v->device.function();
    const u32 cap = function.capability(pci::cap::MsiX);
    if (cap == 0) return;
    const u32 entries = (function.read<u16>(cap + 2) & 0x7ffU) + 1;
    const auto table = function.read<u32>(cap + 4);
    const u64 base = function.bar(table & 7) + (table & ~7U);
    struct Message {
        u64 address;
        u32 data;
    };
    for (const Message& m : {Message{0, 0}, Message{~u64{3}, 0xff}, Message{0xfee00000, 0},
                             Message{0xfeeff000, 0x20}, Message{0xfee00000, 0xf}, Message{v->scratch, 0x41},
                             Message{0x100fee00000, 0x30}, Message{acpi::tables().ecam, 0x30}}) {
        for (u32 i = 0; i < entries; ++i) {
            mmio_write<u64>(base + 16 * i, m.address);
            mmio_write<u32>(base + 16 * i + 8, m.data);
            mmio_write<u32>(base + 16 * i + 12, 0xfffffffe);  // not masked
        }
        function.write<u16>(cap + 2, 0x8000);
        for (const u16 vector : {u16{0}, static_cast<u16>(entries - 1), static_cast<u16>(entries)}) {
            v->device.set<u16>(16, vector);
            v->device.set<u16>(virtio::common::QueueSelect, v->attacked);
            v->device.set<u16>(26, vector);
            if (!v->works()) fail("the device stops at a bad interrupt message");
        }
        function.write<u16>(cap + 2, 0xc000);  // masked as a whole, then off
        function.write<u16>(cap + 2, 0);
    }
    mmio_write<u64>(base + 16 * u64{entries}, ~u64{0});
}

void absent_functions(Victim* /*none*/) {
    const u64 ecam = acpi::tables().ecam;
    for (u64 bus = 0; bus < 256; ++bus) {
        for (u64 function = 1; function < 256; function += bus == 0 ? 9 : 85) {
            const u64 at = ecam + (bus << 20) + (function << 12);
            if (bus == 0 && mmio_read<u16>(at) != 0xffff) continue;
            mmio_write<u32>(at + 4, ~u32{0});
            mmio_write<u64>(at + 0x10, ~u64{0});
            static_cast<void>(mmio_read<u32>(at + 0xffc));
        }
    }
}

/// Ports that end or mute the machine by design, in one that has them.
bool is_off_limits(u32 port) {
    const auto near = [port](u64 at) { return port + 3 >= at && port <= at; };
    const auto& tables = acpi::tables();
    if (port + 3 >= 0x3f8 && port <= 0x3ff) return true;       // our own voice
    if (near(0x64) || near(0x92) || near(0xcf9)) return true;  // PC reset lines
    if (tables.sleep_control.is_port && near(tables.sleep_control.address)) return true;
    return tables.reset.is_port && near(tables.reset.address);
}

void every_port(Victim* /*none*/) {
    for (u32 port = 0; port < 0x10000; ++port) {
        if (is_off_limits(port)) continue;
        const auto p = static_cast<u16>(port);
        port_write<u8>(p, 0xff);
        if (port % 4 != 1 || port + 4 > 0x10000) continue;  // the wider ones at one odd offset
        port_write<u16>(p, 0xffff);
        port_write<u32>(p, ~u32{0});
        static_cast<void>(port_read<u32>(p));
    }
}

constexpr auto kVariants = std::to_array<Variant>({
    {"config-storm", Scope::Device, config_storm},
    {"config-noise", Scope::Device, config_noise},
    {"config-window", Scope::Device, config_window},
    {"bars-anywhere", Scope::Device, bars_anywhere},
    {"decoding-off", Scope::Device, decoding_off},
    {"bar-pages", Scope::Device, bar_pages},
    {"msix-table", Scope::Device, msix_table},
    {"absent-functions", Scope::Machine, absent_functions},
    {"every-port", Scope::Machine, every_port},
});

}  // namespace

std::span<const Variant> pci_variants() { return kVariants; }

}  // namespace holdfast::builtin::hostile
