// SPDX-License-Identifier: Apache-2.0
#include "vmm/guest_load.hpp"

#include "vmm/boot/boot.hpp"
#include "vmm/boot/loader.hpp"
#include "vmm/boot/vcpu_state.hpp"

namespace holdfast::vmm {

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
    return text;
}

Result<LoadedGuest> load_guest(const memcrypt::GuestMemory& memory, const LaunchConfig& config,
                               const UniqueFd& kernel, const UniqueFd& initrd) {
    boot::Loader loader{memory};
    LoadedGuest guest;
    guest.entry = HF_TRY(
        boot::load(loader, {.kernel = kernel,
                            .initrd = initrd,
                            .cmdline = config.cmdline,
                            .shape = shape_text(config),
                            .cpus = config.cpus,
                            .elf_entry = config.flat_entry ? boot::ElfEntry::Flat : boot::ElfEntry::Pvh}));
    if (config.tier == memcrypt::Tier::None) return guest;
    memcrypt::LaunchDigest digest;
    HF_TRY(loader.measure(digest));
    boot::measure_vcpus(digest, guest.entry, config.cpus);
    guest.launch_digest = digest.value();
    return guest;
}

}  // namespace holdfast::vmm
