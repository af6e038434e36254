// SPDX-License-Identifier: Apache-2.0
// hello: what this machine looks like from inside, in about ten lines.

#include <array>

#include "guest_agent/builtin/acpi.hpp"
#include "guest_agent/builtin/boot.hpp"
#include "guest_agent/builtin/console.hpp"
#include "guest_agent/builtin/jobs.hpp"
#include "guest_agent/builtin/pci.hpp"

namespace holdfast::builtin::jobs {
namespace {

std::string_view describe(const pci::Device& device) {
    struct Known {
        u16 vendor, device;
        std::string_view name;
    };
    static constexpr auto kKnown = std::to_array<Known>({
        {0x1af4, 0x1041, "virtio network"},
        {0x1af4, 0x1042, "virtio disk"},
        {0x1af4, 0x1043, "virtio console"},
        {0x1af4, 0x1044, "virtio random numbers"},
        {0x1af4, 0x1053, "virtio socket"},
        {0x1af4, 0x1057, "virtio IOMMU"},
        {0x1b36, 0x0008, "host bridge"},
        {0x1b36, 0x0011, "panic notifier"},
    });
    for (const Known& k : kKnown) {
        if (k.vendor == device.vendor && k.device == device.device) return k.name;
    }
    return (device.read<u32>(pci::reg::ClassCode) >> 16) == 0x0600 ? "host bridge" : "";
}

std::string_view hypervisor(std::array<u32, 3>& storage) {
    if ((cpuid(1).ecx >> 31) == 0) return "none announced";
    const CpuidLeaf leaf = cpuid(0x40000000);
    storage = {leaf.ebx, leaf.ecx, leaf.edx};
    std::string_view name{reinterpret_cast<const char*>(storage.data()), sizeof storage};
    return name.substr(0, name.find('\0'));
}

}  // namespace

void hello() {
    const auto& tables = acpi::tables();
    std::array<u32, 3> storage{};
    print("Hello from ring 3. This is what I can see:\n");
    print("  hypervisor   ", hypervisor(storage), ", ACPI tables by ", tables.oem_name(), "\n");
    print("  processors   ", tables.processors, "\n");
    print("  memory       ", boot::total_memory() >> 20, " MiB, ", memory::free_bytes() >> 20,
          " MiB of it free\n");
    for (const auto& device : pci::devices()) {
        print("  PCI 00:", Hex{device.slot, 2}, ".", device.function, "  ", Hex{device.vendor, 4}, ":",
              Hex{device.device, 4}, " ", describe(device), "\n");
    }
}

}  // namespace holdfast::builtin::jobs
