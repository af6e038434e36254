// SPDX-License-Identifier: Apache-2.0
// holdfast libvirt domain: the flags of `run` as domain XML, for virsh define.
#include <filesystem>

#include <fmt/format.h>

#include "cli/bundle.hpp"
#include "cli/error.hpp"
#include "cli/options.hpp"
#include "cli/output.hpp"
#include "cli/resources.hpp"
#include "libvirt/environment.hpp"
#include "sys/markup.hpp"

namespace holdfast::cli {
namespace {

std::string boot_xml(const Shape& shape) {
    std::string out = "  <os>\n    <type arch='x86_64' machine='q35'>hvm</type>\n";
    if (!shape.kernel.empty() && !shape.bundle) {
        out += fmt::format("    <kernel>{}</kernel>\n", escaped(shape.kernel));
        if (!shape.initrd.empty()) out += fmt::format("    <initrd>{}</initrd>\n", escaped(shape.initrd));
        if (!shape.cmdline.empty()) out += fmt::format("    <cmdline>{}</cmdline>\n", escaped(shape.cmdline));
    }
    return out + "  </os>\n";
}

std::string disks_xml(const Shape& shape) {
    std::string out;
    for (const DiskChoice& disk : shape.disks) {
        out +=
            fmt::format("    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw'/>\n"
                        "      <source file='{}'/>\n      <target dev='vd{}' bus='virtio'/>\n{}    </disk>\n",
                        escaped(disk.path), static_cast<char>('a' + (&disk - shape.disks.data())),
                        disk.read_only ? "      <readonly/>\n" : "");
    }
    return out;
}

std::string net_xml(const Shape& shape) {
    if (!shape.net) return {};
    if (!shape.forwards.empty() || shape.tap_fd >= 0) {
        throw Failure{Code::Value, "this --net has no words in domain XML",
                      "libvirt makes the network itself, and forwards no ports to a Holdfast guest",
                      "use --net user or --net tap=IF"};
    }
    std::string mac;
    if (shape.mac) {
        const auto& m = *shape.mac;
        mac = fmt::format("      <mac address='{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}'/>\n", m[0], m[1],
                          m[2], m[3], m[4], m[5]);
    }
    if (shape.tap.empty()) {
        return fmt::format("    <interface type='user'>\n{}      <model type='virtio'/>\n    </interface>\n",
                           mac);
    }
    return fmt::format("    <interface type='ethernet'>\n{}      <target dev='{}' managed='no'/>\n"
                       "      <model type='virtio'/>\n    </interface>\n",
                       mac, escaped(shape.tap));
}

// holdfast device bind has judged them and given them to vfio-pci: nothing is left for libvirt to manage.
std::string hostdevs_xml(const Shape& shape) {
    std::string out;
    for (const std::string& address : shape.devices) {
        const std::string_view at{address};  // 0000:01:00.0
        out += fmt::format("    <hostdev mode='subsystem' type='pci' managed='no'>\n      <source>\n"
                           "        <address domain='0x{}' bus='0x{}' slot='0x{}' function='0x{}'/>\n"
                           "      </source>\n    </hostdev>\n",
                           at.substr(0, 4), at.substr(5, 2), at.substr(8, 2), at.substr(11));
    }
    return out;
}

std::string devices_xml(const Shape& shape, const std::string& emulator) {
    std::string out = fmt::format("  <devices>\n    <emulator>{}</emulator>\n", escaped(emulator));
    out += disks_xml(shape) + net_xml(shape) + hostdevs_xml(shape);
    out += shape.console == ConsoleKind::Serial
               ? "    <serial type='pty'/>\n"
               : "    <console type='pty'>\n      <target type='virtio'/>\n    </console>\n";
    if (!shape.vtpm_socket.empty()) {
        out += fmt::format(
            "    <tpm model='tpm-crb'>\n      <backend type='external'>\n"
            "        <source type='unix' mode='connect' path='{}'/>\n      </backend>\n    </tpm>\n",
            escaped(shape.vtpm_socket));
    }
    // Each guest has these two in any case.
    out += "    <rng model='virtio'>\n      <backend model='random'>/dev/urandom</backend>\n    </rng>\n"
           "    <panic model='pvpanic'/>\n    <memballoon model='none'/>\n  </devices>\n";
    return out;
}

// What has no words of libvirt's own.
std::string environment_xml(const Settings& said, const Shape& shape, const std::string& state_dir) {
    std::string out;
    const auto add = [&out](std::string_view name, std::string_view value) {
        out += fmt::format("    <qemu:env name='{}' value='{}'/>\n", name, escaped(value));
    };
    for (const libvirt::Variable& variable : libvirt::variables()) {
        if (variable.flag.empty()) {
            if (!state_dir.empty()) add(variable.name, state_dir);
            continue;
        }
        const auto found = said.find(variable.flag);
        if (found == said.end() || found->second.empty()) continue;
        if (found->second.size() > 1) {
            throw Failure{Code::Value, fmt::format("--{} is given more than once", variable.flag),
                          fmt::format("{} holds one", variable.name), "leave out the others"};
        }
        const std::string& value = found->second.back();
        if (variable.flag == "cmdline" && !shape.builtin) continue;
        if (variable.flag == "vtpm" && (!shape.vtpm || !shape.vtpm_socket.empty())) continue;
        add(variable.name, variable.is_switch ? "on" : value);
    }
    return out.empty() ? out : "  <qemu:commandline>\n" + out + "  </qemu:commandline>\n";
}

}  // namespace

int print_domain(const LibvirtDomainOptions& options, const std::string& state_dir) {
    Settings flags = options.settings;
    Settings file = options.config.empty() ? Settings{} : read_config(options.config);
    // libvirt starts domains from a directory of its own.
    for (Settings* const settings : {&flags, &file})
        start_paths_at(std::filesystem::current_path(), *settings);
    Settings said = flags;
    said.insert(file.begin(), file.end());
    auto bundle = take_bundle(flags, file);
    Shape shape = resolve(flags, file);
    if (bundle) hold_to_bundle(shape, std::move(*bundle));
    const std::string emulator =
        options.emulator.empty() ? program_beside("holdfast-qemu") : options.emulator;
    print("<domain type='kvm' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
          "  <name>{}</name>\n  <memory unit='MiB'>{}</memory>\n  <vcpu>{}</vcpu>\n{}"
          "  <features>\n    <acpi/>\n  </features>\n{}{}{}</domain>\n",
          shape.name, shape.memory_bytes >> 20, shape.cpus, boot_xml(shape),
          shape.on_reboot == OnReboot::Exit ? "  <on_reboot>destroy</on_reboot>\n" : "",
          devices_xml(shape, emulator), environment_xml(said, shape, state_dir));
    return 0;
}

}  // namespace holdfast::cli
