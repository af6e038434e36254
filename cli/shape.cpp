// SPDX-License-Identifier: Apache-2.0
#include "cli/shape.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>
#include <sys/random.h>

#include "cli/error.hpp"
#include "cli/output.hpp"
#include "iommu/facts.hpp"
#include "vmm/io/protocol.hpp"
#include "vmm/launch.hpp"

namespace holdfast::cli {
namespace {

using enum SettingKind;

constexpr std::array kSettings{
    Setting{"name", Text, PathPart::None, "NAME", "the VM's name; made up when not given", ""},
    Setting{"kernel", Text, PathPart::Front, "FILE",
            "Linux kernel to boot: a bzImage, or an ELF with a PVH note (vmlinux)", ""},
    Setting{"initrd", Text, PathPart::Front, "FILE", "initial RAM disk for the kernel", ""},
    Setting{"cmdline", Text, PathPart::None, "TEXT", "command line of the kernel or the built-in guest", ""},
    Setting{"builtin", Flag, PathPart::None, "",
            "boot the tiny guest inside this program; --cmdline \"job=NAME ...\" says what it does", ""},
    Setting{"bundle", Text, PathPart::Front, "DIR",
            "boot a signed bundle, which decides all of the VM but its name, disks, net and vsock", ""},
    Setting{"bundle-key", List, PathPart::Front, "FILE",
            "public key (PEM) of who may have signed the bundle; default /etc/holdfast/bundle.pub", ""},
    Setting{"memory", Number, PathPart::None, "SIZE", "guest memory, whole MiB: 512M, 2G (default 512M)", ""},
    Setting{"cpus", Number, PathPart::None, "N", "virtual CPUs, 1 to 64 (default 1)", ""},
    Setting{
        "memory-encryption", Text, PathPart::None, "TIER",
        "what protects guest memory: software (default), sev-snp or none; never replaced by something weaker",
        "software none sev-snp"},
    Setting{"clear-window", Text, PathPart::None, "SIZE|N%",
            "tier software: most guest memory that is ever plaintext, 256K or more (default 25%)", ""},
    Setting{"seal-after", Text, PathPart::None, "TIME",
            "tier software: memory not used for so long is sealed: 500ms, 30s, 5m, or off (default 30s)", ""},
    Setting{"memory-cipher", Text, PathPart::None, "SUITE", "tier software: the cipher of guest memory",
            "aegis-256x2 aes-256-gcm"},
    Setting{"disk", List, PathPart::Front, "FILE[,ro]", "raw disk image, at most 16; ,ro: read-only", ""},
    Setting{"net", Text, PathPart::None, "user[,forward=PORT:PORT]...|tap=IF|tap-fd=N[,mac=MAC]",
            "network: user (passt, needs no privileges), or a tap interface by its name or open descriptor; "
            "forward=8080:80 carries TCP from 127.0.0.1:8080 to the guest's port 80",
            "user user,forward= tap= tap-fd="},
    Setting{"vsock", Text, PathPart::AfterEquals, "CID=PATH",
            "vsock by a Unix socket: clients write CONNECT port; guest connections go to PATH_port", ""},
    Setting{"device", List, PathPart::None, "ADDRESS",
            "give the guest a device of this host, at most 4: as holdfast device list shows it, like "
            "0000:01:00.0, bound by holdfast device bind",
            ""},
    Setting{"device-policy", Text, PathPart::Front, "FILE",
            "which devices may be handed over (default /etc/holdfast/devices.toml)", ""},
    Setting{"vtpm", Text, PathPart::AfterEquals, "on|strict|off|socket=PATH",
            "virtual TPM: off (default), on (the vTPM of the VM's name, made if there is none), strict "
            "(anchored, "
            "and each store survives a power cut of the host), or one at PATH",
            "on strict off socket="},
    Setting{"console", Text, PathPart::None, "KIND",
            "console device: serial (ttyS0) or virtio (hvc0); default serial", "serial virtio"},
    Setting{"on-reboot", Text, PathPart::None, "ACTION",
            "when the guest reboots: restart it (default), or exit with status 10", "restart exit"},
    Setting{"paused", Flag, PathPart::None, "", "do not run the guest until QMP's cont", ""},
};

[[noreturn]] void bad_value(std::string_view setting, std::string_view value, std::string why,
                            std::string fix) {
    throw Failure{Code::Value, fmt::format("--{} '{}' cannot be used", setting, printable(value)),
                  std::move(why), std::move(fix)};
}

template <typename T>
std::optional<T> parse_number(std::string_view text) noexcept {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

// Flags and file, one setting at a time.
class Chosen {
public:
    Chosen(const Settings& flags, const Settings& file) : flags_{flags}, file_{file} {}
    [[nodiscard]] const std::vector<std::string>& all(std::string_view name) const {
        static const std::vector<std::string> none;
        if (const auto it = flags_.find(name); it != flags_.end()) return it->second;
        if (const auto it = file_.find(name); it != file_.end()) return it->second;
        return none;
    }
    [[nodiscard]] bool has(std::string_view name) const { return !all(name).empty(); }
    [[nodiscard]] std::string text(std::string_view name) const {
        return has(name) ? all(name).back() : std::string{};
    }
    [[nodiscard]] bool flag(std::string_view name) const { return text(name) == "true"; }
    /// Which of `words` the setting says; the first when it is not given.
    [[nodiscard]] std::size_t word(std::string_view name, std::span<const std::string_view> words) const {
        if (!has(name)) return 0;
        const std::string value = text(name);
        const auto it = std::ranges::find(words, value);
        if (it == words.end()) {
            bad_value(name, value, "it is not one of the words it can be",
                      fmt::format("use one of: {}", fmt::join(words, ", ")));
        }
        return static_cast<std::size_t>(it - words.begin());
    }

private:
    const Settings& flags_;
    const Settings& file_;
};

std::string generated_name() {
    std::uint32_t number = 0;
    if (::getrandom(&number, sizeof number, 0) != sizeof number) number = 0;
    return fmt::format("vm-{:08x}", number);
}

memcrypt::Tier resolve_tier(const Chosen& chosen) {
    constexpr std::array<std::string_view, 3> words{"software", "none", "sev-snp"};
    switch (chosen.word("memory-encryption", words)) {
        case 0: return memcrypt::Tier::Software;
        case 1: return memcrypt::Tier::None;
        default:
            throw Failure{Code::Tier, "memory encryption 'sev-snp' is not available",
                          "this version of holdfast cannot launch SEV-SNP guests yet",
                          "use --memory-encryption software, and read what it does not protect"};
    }
}

void resolve_boot(const Chosen& chosen, const Settings& flags, Shape& shape) {
    shape.builtin = chosen.flag("builtin");
    shape.kernel = chosen.text("kernel");
    shape.initrd = chosen.text("initrd");
    shape.cmdline = chosen.text("cmdline");
    const bool both_from_one_place = flags.contains("builtin") == flags.contains("kernel");
    if (shape.builtin && !shape.kernel.empty() && !both_from_one_place) {
        // A flag says otherwise than the file: the flag's way of booting is meant.
        if (flags.contains("builtin")) shape.kernel.clear(), shape.initrd.clear();
        else shape.builtin = false;
    }
    if (shape.builtin == !shape.kernel.empty()) {
        throw Failure{Code::NothingToBoot,
                      shape.builtin ? "both --builtin and --kernel are given" : "there is nothing to boot",
                      "a VM boots exactly one of the built-in guest and a kernel file",
                      "give --kernel FILE (with --initrd FILE), --bundle DIR, or --builtin"};
    }
    if (shape.builtin && !shape.initrd.empty()) {
        throw Failure{Code::NothingToBoot, "--initrd is given with --builtin",
                      "the built-in guest has no use for an initrd", "leave out one of the two"};
    }
    if (shape.cmdline.size() > vmm::kMaxCmdline) {
        bad_value("cmdline", shape.cmdline.substr(0, 20) + "...",
                  fmt::format("it has {} bytes", shape.cmdline.size()),
                  fmt::format("shorten it to {} bytes", vmm::kMaxCmdline));
    }
    // Both would be cut short where C strings end, in other places than people see.
    if (shape.cmdline.find('\0') != std::string::npos) {
        bad_value("cmdline", shape.cmdline, "it contains a zero byte", "remove it");
    }
}

void resolve_size(const Chosen& chosen, Shape& shape) {
    constexpr std::uint64_t mib = 1ULL << 20;
    if (chosen.has("memory")) {
        const std::string text = chosen.text("memory");
        const auto size = parse_size(text);
        if (!size || *size < vmm::kMinMemory || *size > vmm::kMaxMemory || *size % mib != 0) {
            bad_value("memory", text, "guest memory is whole MiB, from 16M to 1T",
                      "give a size such as 512M or 2G");
        }
        shape.memory_bytes = *size;
    }
    if (chosen.has("cpus")) {
        const std::string text = chosen.text("cpus");
        const auto cpus = parse_number<std::uint32_t>(text);
        if (!cpus || *cpus == 0 || *cpus > vmm::kMaxCpus) {
            bad_value("cpus", text, fmt::format("a VM has 1 to {} virtual CPUs", vmm::kMaxCpus),
                      "give a number in that range");
        }
        shape.cpus = *cpus;
    }
}

std::uint64_t resolve_window(const Chosen& chosen, std::uint64_t memory_bytes) {
    const std::string text = chosen.has("clear-window") ? chosen.text("clear-window") : "25%";
    std::optional<std::uint64_t> bytes;
    if (text.ends_with('%')) {
        const auto percent = parse_number<std::uint64_t>(std::string_view{text}.substr(0, text.size() - 1));
        if (percent && *percent <= 100) bytes = memory_bytes / kPageSize * *percent / 100 * kPageSize;
    } else {
        bytes = parse_size(text);
    }
    if (bytes) *bytes = *bytes / kPageSize * kPageSize;
    if (!bytes || *bytes < vmm::kMinClearWindow || *bytes > memory_bytes) {
        bad_value("clear-window", text,
                  fmt::format("the clear window of this VM is {} to {}", size_words(vmm::kMinClearWindow),
                              size_words(memory_bytes)),
                  "give a size such as 64M, or a part of guest memory such as 25%");
    }
    return *bytes;
}

std::chrono::milliseconds resolve_seal_after(const Chosen& chosen) {
    using std::chrono::milliseconds;
    constexpr milliseconds kMost = std::chrono::hours{24};
    if (!chosen.has("seal-after")) return vmm::SoftwareShape{}.seal_after;
    const std::string text = chosen.text("seal-after");
    if (text == "off") return milliseconds{0};
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    const auto number = parse_number<std::uint32_t>(std::string_view{text}.substr(0, digits));
    const std::string_view unit = std::string_view{text}.substr(digits);
    const std::int64_t scale = unit == "ms"                  ? 1
                               : unit == "s" || unit.empty() ? 1000
                               : unit == "m"                 ? 60'000
                                                             : 0;
    if (!number || *number == 0 || scale == 0 || *number > kMost.count() / scale) {
        bad_value("seal-after", text, "it is not a time from 1ms to 24 hours",
                  "give for example 500ms, 30s or 5m; or off");
    }
    return milliseconds{*number * scale};
}

void resolve_encryption(const Chosen& chosen, Shape& shape) {
    shape.tier = resolve_tier(chosen);
    if (shape.tier != memcrypt::Tier::Software) {
        for (const char* const setting : {"clear-window", "seal-after", "memory-cipher"}) {
            if (!chosen.has(setting)) continue;
            bad_value(setting, chosen.text(setting),
                      fmt::format("memory encryption {} has no such thing", memcrypt::tier_name(shape.tier)),
                      "leave it out, or use --memory-encryption software");
        }
        return;
    }
    shape.software.window_bytes = resolve_window(chosen, shape.memory_bytes);
    shape.software.seal_after = resolve_seal_after(chosen);
    constexpr std::array<std::string_view, 2> suites{"aegis-256x2", "aes-256-gcm"};
    shape.software.suite = expect(memcrypt::parse_suite(suites[chosen.word("memory-cipher", suites)]));
}

DiskChoice parse_disk(std::string_view text) {
    DiskChoice disk;
    disk.read_only = text.ends_with(",ro");
    if (disk.read_only) text.remove_suffix(3);
    disk.path = text;
    if (disk.path.empty()) bad_value("disk", text, "no file is named", "give FILE or FILE,ro");
    return disk;
}

VsockChoice parse_vsock(std::string_view text) {
    const std::size_t equals = text.find('=');
    const auto cid = parse_number<std::uint32_t>(text.substr(0, equals));
    if (equals == std::string_view::npos || !cid || *cid < 3 || *cid == 0xffffffff ||
        equals + 1 == text.size()) {
        bad_value("vsock", text, "it is not CID=PATH with a CID from 3 to 4294967294",
                  "give for example --vsock 3=/run/user/1000/vm.vsock");
    }
    // "_" and a port of up to ten digits follow, and the whole must fit into a socket's address.
    if (text.size() - equals - 1 > 107 - 11) {
        bad_value("vsock", text, "the path is too long for a Unix socket", "use one of at most 96 bytes");
    }
    return {.cid = *cid, .path = std::string{text.substr(equals + 1)}};
}

std::vector<Forward> parse_forwards(const std::string& net) {
    std::vector<Forward> forwards;
    // "user", then each ",forward=HOST:GUEST".
    std::string_view rest = std::string_view{net}.substr(4);
    while (!rest.empty()) {
        constexpr std::string_view key = ",forward=";
        if (!rest.starts_with(key)) {
            bad_value("net", net, "after user only ,forward=PORT:PORT may follow",
                      "give --net user,forward=8080:80");
        }
        rest.remove_prefix(key.size());
        const std::string_view pair = rest.substr(0, rest.find(','));
        rest.remove_prefix(pair.size());
        const std::size_t colon = std::min(pair.find(':'), pair.size());
        const auto host = parse_number<std::uint16_t>(pair.substr(0, colon));
        const auto guest = parse_number<std::uint16_t>(pair.substr(std::min(colon + 1, pair.size())));
        if (!host || !guest || *host == 0 || *guest == 0) {
            bad_value("net", net, "forward is not HOSTPORT:GUESTPORT with ports from 1 to 65535",
                      "give --net user,forward=8080:80");
        }
        forwards.push_back({.host_port = *host, .guest_port = *guest});
    }
    return forwards;
}

// Takes ",mac=02:00:00:00:00:01" off the end.
std::optional<std::array<std::uint8_t, 6>> take_mac(std::string& net) {
    constexpr std::string_view key = ",mac=";
    const std::size_t at = net.rfind(key);
    if (at == std::string::npos) return std::nullopt;
    const std::string_view text = std::string_view{net}.substr(at + key.size());
    std::array<std::uint8_t, 6> mac{};
    bool whole = text.size() == 17;
    for (std::size_t i = 0; whole && i < mac.size(); ++i) {
        const char* const digits = text.data() + 3 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, mac[i], 16);
        whole = error == std::errc{} && end == digits + 2 && (i == 5 || digits[2] == ':');
    }
    if (!whole || (mac[0] & 1) != 0) {
        bad_value("net", net, "the MAC is not six bytes of an interface of its own",
                  "give for example ,mac=02:00:00:00:00:01");
    }
    net.resize(at);
    return mac;
}

void resolve_net(std::string net, Shape& shape) {
    constexpr std::string_view fd_key = "tap-fd=";
    shape.net = true;
    shape.mac = take_mac(net);
    if (net == "user" || net.starts_with("user,")) {
        shape.forwards = parse_forwards(net);
        return;
    }
    if (net.starts_with(fd_key)) {
        const auto fd = parse_number<int>(std::string_view{net}.substr(fd_key.size()));
        if (fd && *fd >= 3) {
            shape.tap_fd = *fd;
            return;
        }
    }
    if (net.starts_with("tap=")) shape.tap = net.substr(4);
    // 15: IFNAMSIZ less the zero.
    if (shape.tap.empty() || shape.tap.size() > 15) {
        bad_value("net", net, "it is neither user nor tap=IF with an interface's name",
                  "give --net user, or --net tap=tap0");
    }
}

void parse_vtpm(const std::string& text, Shape& shape) {
    constexpr std::string_view key = "socket=";
    shape.vtpm = text != "off";
    shape.vtpm_strict = text == "strict";
    if (text == "on" || text == "off" || shape.vtpm_strict) return;
    // 107: what a Unix socket's address holds.
    if (!text.starts_with(key) || text.size() == key.size() || text.size() - key.size() > 107) {
        bad_value(
            "vtpm", text, "it is neither on, strict, off nor socket=PATH with a path of at most 107 bytes",
            "say --vtpm on, or give the control socket of a TPM, for example --vtpm socket=/run/swtpm.sock");
    }
    shape.vtpm_socket = text.substr(key.size());
}

/// The guest shall take back what a device reaches when it says so, not some time later (docs/iommu.md).
constexpr std::string_view kStrict = "iommu.strict=";

void resolve_host_devices(const Chosen& chosen, Shape& shape) {
    for (const std::string& address : chosen.all("device")) {
        if (!iommu::is_pci_address(address)) {
            bad_value("device", address, "it is not a PCI address like 0000:01:00.0",
                      "holdfast device list shows those there are");
        }
        if (std::ranges::find(shape.devices, address) != shape.devices.end()) {
            bad_value("device", address, "it is given twice", "leave one out");
        }
        shape.devices.push_back(address);
    }
    if (shape.devices.size() > vmm::kMaxDevices) {
        bad_value("device", shape.devices.back(),
                  fmt::format("a VM has at most {} devices of the host", vmm::kMaxDevices),
                  "leave out the rest");
    }
    shape.device_policy = chosen.text("device-policy");
    if (shape.devices.empty()) {
        if (!shape.device_policy.empty()) {
            bad_value("device-policy", shape.device_policy, "no device is given", "add --device ADDRESS");
        }
        return;
    }
    if (shape.builtin) {
        bad_value("device", shape.devices.front(), "the built-in guest has no driver for an IOMMU",
                  "boot a kernel with --kernel");
    }
    if (shape.cmdline.find(kStrict) == std::string::npos) {
        shape.cmdline += fmt::format("{}{}1", shape.cmdline.empty() ? "" : " ", kStrict);
        if (shape.cmdline.size() > vmm::kMaxCmdline) {
            bad_value("cmdline", shape.cmdline.substr(0, 20) + "...",
                      fmt::format("{}1, which --device adds, does not fit", kStrict), "shorten it");
        }
    }
}

void resolve_devices(const Chosen& chosen, Shape& shape) {
    for (const std::string& disk : chosen.all("disk")) shape.disks.push_back(parse_disk(disk));
    if (shape.disks.size() > io::kMaxDisks) {
        bad_value("disk", shape.disks.back().path, fmt::format("a VM has at most {} disks", io::kMaxDisks),
                  "leave out the rest");
    }
    if (chosen.has("net")) resolve_net(chosen.text("net"), shape);
    if (chosen.has("vsock")) shape.vsock = parse_vsock(chosen.text("vsock"));
    resolve_host_devices(chosen, shape);
    if (chosen.has("vtpm")) parse_vtpm(chosen.text("vtpm"), shape);
    constexpr std::array<std::string_view, 2> consoles{"serial", "virtio"};
    shape.console = chosen.word("console", consoles) == 0 ? ConsoleKind::Serial : ConsoleKind::Virtio;
}

}  // namespace

std::span<const Setting> setting_table() noexcept { return kSettings; }

std::optional<std::uint64_t> parse_size(std::string_view text) noexcept {
    unsigned shift = 0;
    if (!text.empty()) {
        switch (text.back()) {
            case 'K':
            case 'k': shift = 10; break;
            case 'M':
            case 'm': shift = 20; break;
            case 'G':
            case 'g': shift = 30; break;
            case 'T':
            case 't': shift = 40; break;
            default: break;
        }
    }
    if (shift != 0) text.remove_suffix(1);
    const auto number = parse_number<std::uint64_t>(text);
    if (!number || *number > (~std::uint64_t{0} >> shift)) return std::nullopt;
    return *number << shift;
}

void check_name(std::string_view name) {
    const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
    const auto allowed = [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; };
    if (!name.empty() && name.size() <= 40 && plain(name.front()) && std::ranges::all_of(name, allowed))
        return;
    throw Failure{Code::Name, fmt::format("'{}' cannot be a VM's name", printable(name.substr(0, 60))),
                  "a name is 1 to 40 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit",
                  "choose such a name, or leave it out and one is made up"};
}

Shape resolve(const Settings& flags, const Settings& file) {
    const Chosen chosen{flags, file};
    Shape shape;
    shape.name = chosen.has("name") ? chosen.text("name") : generated_name();
    check_name(shape.name);
    resolve_boot(chosen, flags, shape);
    resolve_size(chosen, shape);
    resolve_encryption(chosen, shape);
    resolve_devices(chosen, shape);
    constexpr std::array<std::string_view, 2> reboots{"restart", "exit"};
    shape.on_reboot = chosen.word("on-reboot", reboots) == 0 ? OnReboot::Restart : OnReboot::Exit;
    shape.paused = chosen.flag("paused");
    return shape;
}

}  // namespace holdfast::cli
