// SPDX-License-Identifier: Apache-2.0
#include "vmm/launch.hpp"

#include <algorithm>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"
#include "vmm/io/protocol.hpp"

namespace holdfast::vmm {
namespace {

// Bit i of a mask says that the i-th of kLaunchFds is there.
constexpr std::uint16_t kTpmFds = 1U << 10 | 1U << 11;
constexpr std::uint16_t kOptionalFds = 1U << 1 | 1U << 3 | 1U << 9 | kTpmFds | 1U << 12;
constexpr std::uint16_t kAllFds = (1U << kLaunchFds.size()) - 1;

constexpr std::array<UniqueFd DeviceFds::*, 3> kDeviceFds{&DeviceFds::container, &DeviceFds::group,
                                                          &DeviceFds::device};

enum class ReportKind : std::uint8_t { Started = 1, Ended = 2, DeviceEvents = 3 };
constexpr std::size_t kMaxReport = (64U << 10) + 4096;  // the event log has an area of 64 KiB

constexpr std::size_t kMaxDeviceAddress = 16;    // 0000:00:00.0, and longer domains
constexpr std::uint64_t kMostMappings = 65'535;  // vfio_iommu_type1.dma_entry_limit

Result<bool> get_bool(WireReader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > 1) return peer_fault("flag is neither 0 nor 1");
    return value == 1;
}

Result<memcrypt::Tier> get_tier(WireReader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > static_cast<std::uint8_t>(memcrypt::Tier::Tdx)) return peer_fault("unknown tier");
    return static_cast<memcrypt::Tier>(value);
}

void put_software(WireWriter& writer, const SoftwareShape& software) {
    writer.put(software.window_bytes);
    writer.put(static_cast<std::uint32_t>(software.seal_after.count()));
    writer.put(static_cast<std::uint8_t>(software.suite));
}

Result<SoftwareShape> get_software(WireReader& reader, std::uint64_t memory_bytes) {
    SoftwareShape software;
    software.window_bytes = HF_TRY(reader.get<std::uint64_t>());
    software.seal_after = std::chrono::milliseconds{HF_TRY(reader.get<std::uint32_t>())};
    software.suite = static_cast<memcrypt::Suite>(HF_TRY(reader.get<std::uint8_t>()));
    if (memcrypt::suite_name(software.suite).empty()) return peer_fault("unknown cipher suite");
    if (software.window_bytes < kMinClearWindow || software.window_bytes > memory_bytes ||
        software.window_bytes % kPageSize != 0) {
        return peer_fault("clear window out of range or not whole pages");
    }
    return software;
}

void put_digest(WireWriter& writer, const std::optional<Digest384>& digest) {
    writer.put(static_cast<std::uint8_t>(digest.has_value()));
    if (!digest) return;
    for (const std::byte byte : *digest) writer.put(std::to_integer<std::uint8_t>(byte));
}

Result<std::optional<Digest384>> get_digest(WireReader& reader) {
    if (!HF_TRY(get_bool(reader))) return std::optional<Digest384>{};
    Digest384 digest;
    for (std::byte& byte : digest) byte = std::byte{HF_TRY(reader.get<std::uint8_t>())};
    return std::optional{digest};
}

void put_pcrs(WireWriter& writer, std::span<const eventlog::PcrValue> pcrs) {
    writer.put(static_cast<std::uint8_t>(pcrs.size()));
    for (const eventlog::PcrValue& pcr : pcrs) {
        writer.put(static_cast<std::uint8_t>(pcr.pcr));
        writer.put(static_cast<std::uint16_t>(pcr.value.alg));
        writer.put_bytes(pcr.value.bytes());
    }
}

Result<std::vector<eventlog::PcrValue>> get_pcrs(WireReader& reader) {
    std::vector<eventlog::PcrValue> pcrs(HF_TRY(reader.get<std::uint8_t>()));
    for (eventlog::PcrValue& pcr : pcrs) {
        pcr.pcr = HF_TRY(reader.get<std::uint8_t>());
        const auto alg = tpm2::known_alg(HF_TRY(reader.get<std::uint16_t>()));
        if (pcr.pcr >= tpm2::kPcrs || !alg) return peer_fault("PCR or bank that there is not");
        pcr.value.alg = *alg;
        const auto value = HF_TRY(reader.get_bytes());
        if (value.size() != pcr.value.bytes().size()) return peer_fault("PCR of another size than its bank");
        std::ranges::copy(value, pcr.value.storage.begin());
    }
    return pcrs;
}

void put_devices(WireWriter& writer, const LaunchConfig& config) {
    writer.put(static_cast<std::uint8_t>(config.disks.size()));
    for (const DiskShape& disk : config.disks) {
        writer.put(disk.size_bytes);
        writer.put(static_cast<std::uint8_t>(disk.read_only));
    }
    writer.put(static_cast<std::uint8_t>(config.net.has_value()));
    if (config.net) {
        for (const std::uint8_t byte : config.net->mac) writer.put(byte);
        writer.put(config.net->mtu);
    }
    writer.put(static_cast<std::uint8_t>(config.vsock_cid.has_value()));
    if (config.vsock_cid) writer.put(*config.vsock_cid);
    writer.put(static_cast<std::uint8_t>(config.vtpm));
    writer.put(static_cast<std::uint8_t>(config.devices.size()));
    for (const DeviceShape& device : config.devices) {
        writer.put_string(device.address);
        writer.put(device.rule);
        writer.put(device.max_bytes);
        writer.put(device.max_mappings);
        writer.put(static_cast<std::uint8_t>(device.intx));
    }
}

Result<void> get_devices(WireReader& reader, LaunchConfig& config) {
    const auto disks = HF_TRY(reader.get<std::uint8_t>());
    if (disks > io::kMaxDisks) return peer_fault("too many disks");
    for (std::uint8_t i = 0; i < disks; ++i) {
        const auto size = HF_TRY(reader.get<std::uint64_t>());
        if (size % 512 != 0) return peer_fault("disk is not whole sectors");
        config.disks.push_back({size, HF_TRY(get_bool(reader))});
    }
    if (HF_TRY(get_bool(reader))) {
        NetShape net;
        for (std::uint8_t& byte : net.mac) byte = HF_TRY(reader.get<std::uint8_t>());
        net.mtu = HF_TRY(reader.get<std::uint16_t>());
        if (net.mtu < 68) return peer_fault("MTU below 68");
        config.net = net;
    }
    if (HF_TRY(get_bool(reader))) {
        config.vsock_cid = HF_TRY(reader.get<std::uint32_t>());
        if (*config.vsock_cid < 3 || *config.vsock_cid == 0xffffffff) return peer_fault("reserved CID");
    }
    config.vtpm = HF_TRY(get_bool(reader));
    const auto devices = HF_TRY(reader.get<std::uint8_t>());
    if (devices > kMaxDevices) return peer_fault("too many devices of the host");
    for (std::uint8_t i = 0; i < devices; ++i) {
        DeviceShape device;
        device.address = HF_TRY(reader.get_string());
        if (device.address.size() > kMaxDeviceAddress) return peer_fault("device address too long");
        device.rule = HF_TRY(reader.get<std::uint32_t>());
        device.max_bytes = HF_TRY(reader.get<std::uint64_t>());
        device.max_mappings = HF_TRY(reader.get<std::uint64_t>());
        if (device.max_mappings > kMostMappings) return peer_fault("more mappings than the kernel has");
        device.intx = HF_TRY(get_bool(reader));
        config.devices.push_back(std::move(device));
    }
    return {};
}

void put_bundle(WireWriter& writer, const std::optional<BundleClaim>& bundle) {
    writer.put(static_cast<std::uint8_t>(bundle.has_value()));
    if (!bundle) return;
    writer.put_string(bundle->manifest);
    writer.put_string(bundle->signer);
}

Result<std::optional<BundleClaim>> get_bundle(WireReader& reader) {
    if (!HF_TRY(get_bool(reader))) return std::optional<BundleClaim>{};
    BundleClaim bundle;
    bundle.manifest = HF_TRY(reader.get_string());
    bundle.signer = HF_TRY(reader.get_string());
    if (bundle.manifest.size() > kMaxBundleManifest || bundle.signer.size() > kMaxBundleSigner) {
        return peer_fault("bundle's manifest or key too long");
    }
    return std::optional{std::move(bundle)};
}

Result<LaunchConfig> decode(std::span<const std::byte> bytes, std::uint16_t& fd_mask) {
    WireReader reader{bytes};
    LaunchConfig config;
    fd_mask = HF_TRY(reader.get<std::uint16_t>());
    config.name = HF_TRY(reader.get_string());
    config.memory_bytes = HF_TRY(reader.get<std::uint64_t>());
    config.cpus = HF_TRY(reader.get<std::uint32_t>());
    config.tier = HF_TRY(get_tier(reader));
    if (config.tier == memcrypt::Tier::Software) {
        config.software = HF_TRY(get_software(reader, config.memory_bytes));
    }
    config.cmdline = HF_TRY(reader.get_string());
    config.flat_entry = HF_TRY(get_bool(reader));
    config.start_paused = HF_TRY(get_bool(reader));
    config.virtio_console = HF_TRY(get_bool(reader));
    HF_TRY(get_devices(reader, config));
    config.bundle = HF_TRY(get_bundle(reader));
    config.expected_digest = HF_TRY(get_digest(reader));
    HF_TRY(reader.expect_end());
    if (config.memory_bytes < kMinMemory || config.memory_bytes > kMaxMemory ||
        config.memory_bytes % (1ULL << 20) != 0) {
        return peer_fault("memory size out of range or not whole MiB");
    }
    if (config.cpus == 0 || config.cpus > kMaxCpus) return peer_fault("number of vCPUs out of range");
    if (config.cmdline.size() > kMaxCmdline) return peer_fault("command line too long");
    return config;
}

}  // namespace

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config, const LaunchFds& fds) {
    std::uint16_t mask = 0;
    std::vector<int> numbers;
    for (std::size_t i = 0; i < kLaunchFds.size(); ++i) {
        if (!(fds.*kLaunchFds[i])) continue;
        mask = static_cast<std::uint16_t>(mask | 1U << i);
        numbers.push_back((fds.*kLaunchFds[i]).get());
    }
    check(fds.devices.size() == config.devices.size(), "a device without its descriptors");
    for (const DeviceFds& device : fds.devices) {
        for (const UniqueFd DeviceFds::* const fd : kDeviceFds) numbers.push_back((device.*fd).get());
    }
    WireWriter writer;
    writer.put(mask);
    writer.put_string(config.name);
    writer.put(config.memory_bytes);
    writer.put(config.cpus);
    writer.put(static_cast<std::uint8_t>(config.tier));
    if (config.tier == memcrypt::Tier::Software) put_software(writer, config.software);
    writer.put_string(config.cmdline);
    writer.put(static_cast<std::uint8_t>(config.flat_entry));
    writer.put(static_cast<std::uint8_t>(config.start_paused));
    writer.put(static_cast<std::uint8_t>(config.virtio_console));
    put_devices(writer, config);
    put_bundle(writer, config.bundle);
    put_digest(writer, config.expected_digest);
    return send_message(socket, writer.bytes(), numbers);
}

Result<Launch> receive_launch(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxLaunchBytes));
    std::uint16_t mask = 0;
    Launch launch{.config = HF_TRY(decode(message.bytes, mask)), .fds = {}};
    if ((mask & ~kAllFds) != 0 || (mask | kOptionalFds) != kAllFds) {
        return peer_fault("launch message lacks a descriptor");
    }
    if (launch.config.tier == memcrypt::Tier::Software && (mask & 1U << 1) == 0) {
        return peer_fault("launch message lacks the descriptor of userfaultfd");
    }
    if ((mask & kTpmFds) != (launch.config.vtpm ? kTpmFds : 0)) {
        return peer_fault("a vTPM has two descriptors, and nobody else has them");
    }
    std::size_t next = 0;
    for (std::size_t i = 0; i < kLaunchFds.size(); ++i) {
        if ((mask & 1U << i) == 0) continue;
        if (next == message.fds.size()) return peer_fault("launch message lacks a descriptor");
        launch.fds.*kLaunchFds[i] = std::move(message.fds[next++]);
    }
    if (message.fds.size() - next != kDeviceFds.size() * launch.config.devices.size()) {
        return peer_fault("a device of the host has three descriptors");
    }
    while (next < message.fds.size()) {
        DeviceFds device;
        for (UniqueFd DeviceFds::* const fd : kDeviceFds) device.*fd = std::move(message.fds[next++]);
        launch.fds.devices.push_back(std::move(device));
    }
    return launch;
}

Result<void> send_started(const UniqueFd& socket, const Started& started) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(ReportKind::Started));
    put_digest(writer, started.launch_digest);
    put_pcrs(writer, started.pcrs);
    writer.put_bytes(started.event_log);
    return send_message(socket, writer.bytes());
}

Result<void> send_ended(const UniqueFd& socket, const Ended& ended) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(ReportKind::Ended));
    writer.put(static_cast<std::uint8_t>(ended.reason));
    writer.put_string(ended.detail);
    const int session = ended.control_session.get();
    return send_message(socket, writer.bytes(), {&session, session >= 0 ? 1U : 0U});
}

Result<void> send_device_events(const UniqueFd& socket, std::span<const DeviceEvent> events,
                                std::uint32_t left_out) {
    check(events.size() <= kMaxDeviceEvents, "number of device events");
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(ReportKind::DeviceEvents));
    writer.put(left_out);
    writer.put(static_cast<std::uint8_t>(events.size()));
    for (const DeviceEvent& event : events) {
        writer.put(static_cast<std::uint8_t>(event.kind));
        writer.put(event.device);
        writer.put(event.why);
        writer.put(static_cast<std::uint8_t>(event.writable));
        for (const std::uint64_t value : {event.iova, event.size, event.target, event.at_ms})
            writer.put(value);
    }
    return send_message(socket, writer.bytes());
}

namespace {

Result<DeviceEvent> get_device_event(WireReader& reader) {
    DeviceEvent event;
    const auto kind = HF_TRY(reader.get<std::uint8_t>());
    if (kind < 1 || kind > 3) return peer_fault("unknown event of a device");
    event.kind = static_cast<DeviceEvent::Kind>(kind);
    event.device = HF_TRY(reader.get<std::uint8_t>());
    if (event.device >= kMaxDevices) return peer_fault("event of a device that there is not");
    event.why = HF_TRY(reader.get<std::uint8_t>());
    event.writable = HF_TRY(get_bool(reader));
    for (std::uint64_t* const value : {&event.iova, &event.size, &event.target, &event.at_ms})
        *value = HF_TRY(reader.get<std::uint64_t>());
    return event;
}

Result<void> get_device_events(WireReader& reader, VmmReport& report) {
    report.left_out = HF_TRY(reader.get<std::uint32_t>());
    const auto count = HF_TRY(reader.get<std::uint8_t>());
    if (count > kMaxDeviceEvents) return peer_fault("too many events of devices");
    for (std::uint8_t i = 0; i < count; ++i) report.device_events.push_back(HF_TRY(get_device_event(reader)));
    return {};
}

}  // namespace

Result<std::optional<VmmReport>> receive_report(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxReport));
    if (message.bytes.empty()) return std::optional<VmmReport>{};
    WireReader reader{message.bytes};
    VmmReport report;
    const auto kind = static_cast<ReportKind>(HF_TRY(reader.get<std::uint8_t>()));
    switch (kind) {
        case ReportKind::Started:
            report.started.emplace();
            report.started->launch_digest = HF_TRY(get_digest(reader));
            report.started->pcrs = HF_TRY(get_pcrs(reader));
            {
                const auto log = HF_TRY(reader.get_bytes());
                report.started->event_log.assign(log.begin(), log.end());
            }
            break;
        case ReportKind::DeviceEvents: HF_TRY(get_device_events(reader, report)); break;
        case ReportKind::Ended: {
            report.ended.emplace();
            const auto reason = static_cast<EndReason>(HF_TRY(reader.get<std::uint8_t>()));
            switch (reason) {
                case EndReason::PowerOff:
                case EndReason::Failure:
                case EndReason::Reboot:
                case EndReason::Panic:
                case EndReason::Tampered:
                case EndReason::Killed: report.ended->reason = reason; break;
                default: return peer_fault("unknown end reason");
            }
            report.ended->detail = HF_TRY(reader.get_string());
            if (!message.fds.empty()) report.ended->control_session = std::move(message.fds[0]);
            break;
        }
        default: return peer_fault("unknown report from the VMM");
    }
    HF_TRY(reader.expect_end());
    return std::optional{std::move(report)};
}

}  // namespace holdfast::vmm
