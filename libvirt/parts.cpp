// SPDX-License-Identifier: Apache-2.0
#include "libvirt/parts.hpp"

#include <algorithm>
#include <charconv>

#include "libvirt/advertised.hpp"
#include "libvirt/json.hpp"

namespace holdfast::libvirt {
namespace {

// What a descriptor's number may be: far above what libvirt hands over.
constexpr unsigned kMaxFd = 65535;

Refusal not_there(std::string_view what) {
    return {printable(what) + " is not there",
            "leave out of the domain what asks for it; docs/libvirt.md lists what there is"};
}

}  // namespace

std::optional<unsigned> number_of(std::string_view text) noexcept {
    unsigned value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::optional<int> fd_of(std::string_view text) noexcept {
    const auto number = number_of(text);
    if (!number || *number < 3 || *number > kMaxFd) return std::nullopt;
    return static_cast<int>(*number);
}

std::optional<std::uint64_t> bytes_of(std::string_view text, Unit plain) noexcept {
    unsigned shift = plain == Unit::Mebibyte ? 20 : 0;
    constexpr std::string_view units = "BbKkMmGgTt";
    if (!text.empty()) {
        if (const auto unit = units.find(text.back()); unit != std::string_view::npos) {
            shift = static_cast<unsigned>(unit / 2 * 10);
            text.remove_suffix(1);
        }
    }
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value > ~std::uint64_t{0} >> shift)
        return std::nullopt;
    return value << shift;
}

Verdict<bool> Parts::read(const Option& option) {
    struct Row {
        std::string_view name;
        std::string_view first;
        Verdict<void> (Parts::*read)(Fields);
    };
    constexpr Row rows[] = {
        {"object", "qom-type", &Parts::read_object},   {"chardev", "backend", &Parts::read_chardev},
        {"blockdev", "driver", &Parts::read_blockdev}, {"netdev", "type", &Parts::read_netdev},
        {"tpmdev", "type", &Parts::read_tpmdev},       {"add-fd", "", &Parts::read_add_fd},
        {"mon", "chardev", &Parts::read_mon}};
    if (option.name == "device") {
        devices_.push_back(HF_TRY(Fields::read(option.value, "driver")));
        return true;
    }
    const auto* const row = std::ranges::find(rows, option.name, &Row::name);
    if (row == std::end(rows)) return false;
    auto fields = HF_TRY(Fields::read(option.value, row->first));
    HF_TRY((this->*row->read)(std::move(fields)));
    return true;
}

Verdict<void> Parts::read_object(Fields fields) {
    const std::string type = fields.take("qom-type");
    const std::string id = fields.take("id");
    if (type == "memory-backend-ram") {
        ram_bytes_ = bytes_of(fields.take("size"), Unit::Byte);
        if (id != kRamId || !ram_bytes_) return not_there("memory-backend-ram '" + id + "'");
    } else if (type == "rng-random") {
        // The guest's bytes come from getrandom(), which is what these two files give.
        const std::string file = fields.take("filename");
        if (file != "/dev/urandom" && file != "/dev/random")
            return not_there("a source of random numbers '" + file + "'");
        rngs_.push_back(id);
    } else if (type == "secret") {
        fields.ignore(
            {"format", "file"});  // libvirt's master key, for secrets of disks: no disk of ours takes one
    } else if (type == "sev-snp-guest" || type == "sev-guest" || type == "tdx-guest") {
        return Refusal{
            "launchSecurity asks for memory encryption by the CPU, and this version of Holdfast has none",
            "leave out <launchSecurity>, and read what tier software does not protect (docs/libvirt.md)"};
    } else {
        return not_there("object '" + type + "'");
    }
    return fields.unused("-object " + type);
}

Verdict<void> Parts::read_chardev(Fields fields) {
    const std::string backend = fields.take("backend");
    Chardev chardev{.id = fields.take("id")};
    if (backend == "pty") {
        chardev.kind = Chardev::Kind::Pty;
    } else if (backend == "null") {
        chardev.kind = Chardev::Kind::Null;
    } else if (backend == "file") {
        chardev.kind = Chardev::Kind::File;
        chardev.path = fields.take("path");
        chardev.append = fields.take("append") == "on";
    } else if (backend == "socket" && fields.has("fd")) {
        const auto fd = fd_of(fields.take("fd"));
        if (!fd || fields.take("server") != "on" || fields.take("wait") != "off")
            return not_there("a socket with this descriptor");
        chardev.kind = Chardev::Kind::Listener;
        chardev.fd = *fd;
    } else if (backend == "socket" && fields.has("path") && !fields.has("server")) {
        chardev.kind = Chardev::Kind::Connect;
        chardev.path = fields.take("path");
    } else {
        return not_there("character device '" + backend + "' of this kind");
    }
    HF_TRY(fields.unused("-chardev " + backend));
    if (!chardevs_.try_emplace(chardev.id, chardev).second)
        return not_there("a second character device '" + chardev.id + "'");
    return {};
}

Verdict<void> Parts::read_blockdev(Fields fields) {
    const std::string name = fields.take("node-name");
    Node node{.driver = fields.take("driver"), .file = fields.take("file"), .path = fields.take("filename")};
    node.read_only = fields.take("read-only") == "on";
    // How QEMU would do it; ours bypasses the host's cache where it can.
    fields.ignore({"auto-read-only", "discard", "cache.direct", "cache.no-flush", "aio"});
    const bool below = (node.driver == "file" || node.driver == "host_device") && !node.path.empty();
    if (!below && !(node.driver == "raw" && !node.file.empty()))
        return not_there("a disk of format '" + node.driver + "'");
    HF_TRY(fields.unused("-blockdev " + node.driver));
    if (!nodes_.try_emplace(name, node).second) return not_there("a second block device '" + name + "'");
    return {};
}

Verdict<void> Parts::read_netdev(Fields fields) {
    const std::string id = fields.take("id");
    Net net{.type = fields.take("type")};
    if (net.type == kNetTap) {
        const auto fd = fd_of(fields.take("fd"));
        if (!fd) return not_there("a tap without its descriptor, or with several");
        net.fd = *fd;
        // vhost would read guest memory past the pager; frames go through holdfast-io instead.
        fields.ignore({"vhost"});
        if (fields.has("vhostfd")) {
            const auto vhost = fd_of(fields.take("vhostfd"));
            if (!vhost) return not_there("a vhost descriptor of this kind");
            net.others.push_back(*vhost);
        }
    } else if (net.type != kNetUser) {
        return not_there("network '" + net.type + "'");
    }
    HF_TRY(fields.unused("-netdev " + net.type));
    if (!nets_.try_emplace(id, net).second) return not_there("a second network '" + id + "'");
    return {};
}

Verdict<void> Parts::read_tpmdev(Fields fields) {
    const std::string type = fields.take("type");
    if (type != "emulator") return not_there("TPM '" + type + "'");
    const std::string id = fields.take("id");
    tpms_[id] = fields.take("chardev");
    return fields.unused("-tpmdev emulator");
}

Verdict<void> Parts::read_add_fd(Fields fields) {
    const auto fd = fd_of(fields.take("fd"));
    if (!fd) return not_there("a descriptor of this number");
    fd_sets_["/dev/fdset/" + fields.take("set")] = *fd;
    fields.ignore({"opaque"});
    return fields.unused("-add-fd");
}

Verdict<void> Parts::read_mon(Fields fields) {
    monitor_ = fields.take("chardev");
    if (fields.take("mode") != "control") return not_there("a monitor for people");
    fields.ignore({"id"});
    return fields.unused("-mon");
}

}  // namespace holdfast::libvirt
