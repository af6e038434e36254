// SPDX-License-Identifier: Apache-2.0
// The second half of Parts: each -device finds what it refers to, and becomes flags of `holdfast run`.
#include <algorithm>

#include "libvirt/advertised.hpp"
#include "libvirt/json.hpp"
#include "libvirt/parts.hpp"

namespace holdfast::libvirt {
namespace {

Refusal missing(const std::string& what, const std::string& id) {
    return {what + " '" + printable(id) + "' is referred to and not given", "correct the command line"};
}

}  // namespace

Verdict<void> Parts::join(Plan& plan) {
    if (!monitor_.empty()) {
        const Chardev chardev = HF_TRY(take_chardev(monitor_));
        if (chardev.kind != Chardev::Kind::Listener)
            return Refusal{"the monitor is not a listening socket", "use fd=N,server=on"};
        plan.monitor.listener = chardev.fd;
    }
    if (ram_bytes_ && *ram_bytes_ != plan.memory_bytes) {
        return Refusal{"-m and the memory backend have different sizes", "correct <memory>"};
    }
    for (Fields& device : devices_) HF_TRY(add_device(device, plan));
    if (!chardevs_.empty())
        return Refusal{"character device '" + printable(chardevs_.begin()->first) + "' has no use",
                       "remove it"};
    if (!nodes_.empty())
        return Refusal{"block device '" + printable(nodes_.begin()->first) + "' has no use", "remove it"};
    if (!nets_.empty())
        return Refusal{"network '" + printable(nets_.begin()->first) + "' has no use", "remove it"};
    if (!tpms_.empty())
        return Refusal{"TPM '" + printable(tpms_.begin()->first) + "' has no use", "remove it"};
    return {};
}

Verdict<void> Parts::add_device(Fields& fields, Plan& plan) {
    const std::string driver = fields.take("driver");
    if (driver.starts_with("vhost-vsock")) {
        return Refusal{"<vsock> means vhost, which would read guest memory past its encryption",
                       "use HOLDFAST_VSOCK=CID=PATH (docs/libvirt.md, \"vsock\")"};
    }
    const Type* const type = find_type(driver);
    if (type == nullptr || !type->note.empty()) {
        return Refusal{"device '" + printable(driver) + "' is not there",
                       type == nullptr ? "leave it out of the domain; docs/libvirt.md lists what there is"
                                       : std::string{type->note}};
    }
    const std::string id = fields.take("id");
    plan.devices.push_back(id);
    // Where a device sits on the PCI bus is Holdfast's choice; its ports are libvirt's way of counting.
    fields.ignore({"bus", "addr", "bootindex"});
    if (driver == "pcie-root-port") fields.ignore({"port", "chassis", "multifunction"});
    else if (driver == "isa-serial") HF_TRY(add_console(fields, "serial", plan));
    else if (driver == "virtconsole") HF_TRY(add_console(fields, "virtio", plan));
    else if (driver == "virtio-blk-pci") HF_TRY(add_disk(fields, id, plan));
    else if (driver == "virtio-net-pci") HF_TRY(add_net(fields, plan));
    else if (driver == "tpm-crb") HF_TRY(add_tpm(fields, plan));
    // `run` judges it, whoever has bound it to vfio-pci.
    else if (driver == "vfio-pci") plan.run.insert(plan.run.end(), {"--device", fields.take("host")});
    // A guest has one of each of these two in any case.
    else if (driver == "virtio-rng-pci" && std::erase(rngs_, fields.take("rng")) != 1)
        return missing("random numbers", id);
    return fields.unused("-device " + driver);
}

Verdict<Chardev> Parts::take_chardev(const std::string& id) {
    const auto found = chardevs_.find(id);
    if (found == chardevs_.end()) return missing("character device", id);
    Chardev chardev = found->second;
    chardevs_.erase(found);
    if (chardev.kind == Chardev::Kind::File) {
        if (const auto set = fd_sets_.find(chardev.path); set != fd_sets_.end()) chardev.fd = set->second;
    }
    return chardev;
}

Verdict<void> Parts::add_console(Fields& fields, const char* kind, Plan& plan) {
    if (plan.console)
        return Refusal{"a domain has one console", "leave out the second <serial> or <console>"};
    plan.console = HF_TRY(take_chardev(fields.take("chardev")));
    plan.run.insert(plan.run.end(), {"--console", kind});
    const std::string index = fields.take("index");
    if (!index.empty() && index != "0")
        return Refusal{"there is one serial port, ttyS0", "use <target port='0'/>"};
    return {};
}

Verdict<void> Parts::add_disk(Fields& fields, const std::string& id, Plan& plan) {
    Disk disk{.id = id, .node = fields.take("drive")};
    auto node = nodes_.extract(disk.node);
    if (!node.empty() && node.mapped().driver == "raw") {
        disk.read_only = node.mapped().read_only;
        node = nodes_.extract(node.mapped().file);
    }
    if (node.empty() || node.mapped().path.empty()) return missing("block device", disk.node);
    disk.path = node.mapped().path;
    disk.read_only = disk.read_only || node.mapped().read_only;
    // `run` would take ",ro" at the end of a path for its own.
    if (disk.path.ends_with(",ro")) return Refusal{"a disk's path cannot end in ',ro'", "rename the image"};
    plan.run.insert(plan.run.end(), {"--disk", disk.path + (disk.read_only ? ",ro" : "")});
    plan.disks.push_back(std::move(disk));
    return {};
}

Verdict<void> Parts::add_net(Fields& fields, Plan& plan) {
    const std::string id = fields.take("netdev");
    auto net = nets_.extract(id);
    if (net.empty()) return missing("network", id);
    if (std::ranges::find(plan.run, "--net") != plan.run.end())
        return Refusal{"a domain has one network interface", "leave out the second <interface>"};
    const std::string mac = fields.take("mac");
    std::string value = net.mapped().type == kNetTap ? "tap-fd=4" : "user";
    if (!mac.empty()) value += ",mac=" + mac;
    plan.run.insert(plan.run.end(), {"--net", value});
    plan.tap = net.mapped().fd;
    plan.unused_fds = net.mapped().others;
    return {};
}

Verdict<void> Parts::add_tpm(Fields& fields, Plan& plan) {
    const std::string id = fields.take("tpmdev");
    auto tpm = tpms_.extract(id);
    if (tpm.empty()) return missing("TPM", id);
    const Chardev chardev = HF_TRY(take_chardev(tpm.mapped()));
    if (chardev.kind != Chardev::Kind::Connect)
        return Refusal{"a TPM is reached by a Unix socket's path", "use <backend type='external'>"};
    plan.run.insert(plan.run.end(), {"--vtpm", "socket=" + chardev.path});
    return {};
}

}  // namespace holdfast::libvirt
