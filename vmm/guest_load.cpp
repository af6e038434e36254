// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_load.hpp"

#include <algorithm>

#include "vmm/boot/boot.hpp"
#include "vmm/boot/loader.hpp"
#include "vmm/boot/vcpu_state.hpp"
#include "vmm/measured_boot.hpp"

namespace holdfast::vmm {

namespace {

std::optional<boot::Viot> viot_of(const LaunchConfig& config) {
    if (config.devices.empty()) return std::nullopt;
    const std::uint8_t iommu = iommu_slot(config);
    return boot::Viot{.iommu = iommu,
                      .first = static_cast<std::uint8_t>(iommu + 1),
                      .last = static_cast<std::uint8_t>(iommu + config.devices.size()),
                      .lines = std::ranges::any_of(config.devices, &DeviceShape::intx)};
}

}  // namespace

std::uint8_t iommu_slot(const LaunchConfig& config) {
    constexpr std::size_t kAlways = 2;  // pvpanic and rng, from 1 on
    std::size_t others = config.disks.size();
    for (const bool present : {config.net.has_value(), config.vsock_cid.has_value(), config.virtio_console})
        others += present ? 1 : 0;
    return static_cast<std::uint8_t>(1 + kAlways + others);
}

std::string shape_text(const LaunchConfig& config) {
    std::string text = "holdfast shape 1\n";
    text += "memory " + std::to_string(config.memory_bytes) + '\n';
    text += "cpus " + std::to_string(config.cpus) + '\n';
    text += config.virtio_console ? "console hvc0\n" : "console ttyS0\n";
    text += "device pvpanic\ndevice rng\n";
    for (const DiskShape& disk : config.disks) {
        text += disk.read_only ? "device disk read-only\n" : "device disk\n";
    }
    if (config.net) text += "device net\n";
    if (config.vsock_cid) text += "device vsock\n";
    if (config.virtio_console) text += "device console\n";
    if (!config.devices.empty()) text += "device iommu\n";
    for (const DeviceShape& device : config.devices) {
        text += device.intx ? "device of the host intx\n" : "device of the host\n";
    }
    if (config.vtpm) text += "device tpm\n";
    if (config.bundle) {
        text += "bundle " + hex(sha384(std::as_bytes(std::span{config.bundle->manifest}))) + '\n';
    }
    return text;
}

Result<LoadedGuest> load_guest(const memcrypt::GuestMemory& memory, const LaunchConfig& config,
                               const UniqueFd& kernel, const UniqueFd& initrd) {
    boot::Loader loader{memory};
    LoadedGuest guest;
    const std::string shape = shape_text(config);
    MeasuredBoot measured;
    if (config.vtpm) measured = HF_TRY(measure_boot(config.cmdline, shape, config.bundle, kernel, initrd));
    const std::vector<std::byte> event_log =
        config.vtpm ? eventlog::encode(measured.events) : std::vector<std::byte>{};
    guest.entry = HF_TRY(
        boot::load(loader, {.kernel = config.vtpm ? measured.kernel : kernel,
                            .initrd = config.vtpm ? measured.initrd : initrd,
                            .cmdline = config.cmdline,
                            .shape = shape,
                            .cpus = config.cpus,
                            .elf_entry = config.flat_entry ? boot::ElfEntry::Flat : boot::ElfEntry::Pvh,
                            .event_log = event_log,
                            .viot = viot_of(config)}));
    guest.measured = std::move(measured.events);
    if (config.tier == memcrypt::Tier::None) return guest;
    memcrypt::LaunchDigest digest;
    HF_TRY(loader.measure(digest));
    boot::measure_vcpus(digest, guest.entry, config.cpus);
    guest.launch_digest = digest.value();
    return guest;
}

}  // namespace holdfast::vmm
