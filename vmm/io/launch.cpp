// SPDX-License-Identifier: Apache-2.0
#include "vmm/io/launch.hpp"

#include <array>
#include <bit>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"
#include "vmm/io/protocol.hpp"

namespace holdfast::io {
namespace {

// The order of descriptors in the message: these, bit i of a mask saying that the i-th is there, then
// the disks.
constexpr std::array<UniqueFd LaunchConfig::*, 9> kFds{
    &LaunchConfig::memory,           &LaunchConfig::requests,
    &LaunchConfig::completions,      &LaunchConfig::console_guest,
    &LaunchConfig::console_listener, &LaunchConfig::console_log,
    &LaunchConfig::console_client,   &LaunchConfig::net,
    &LaunchConfig::vsock_listener};
constexpr std::uint16_t kAllFds = (1U << kFds.size()) - 1;
constexpr std::uint16_t kNeededFds = (1U << 6) - 1;
constexpr std::size_t kMaxLaunchBytes = 512;
constexpr std::size_t kMaxReportBytes = 1024;
constexpr std::size_t kMaxDetail = 512;

enum class ReportKind : std::uint8_t { Ready = 1, VsockConnect, Failed };

Result<bool> get_bool(WireReader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > 1) return peer_fault("flag is neither 0 nor 1");
    return value == 1;
}

Result<LaunchConfig> decode(std::span<const std::byte> bytes, std::uint16_t& fd_mask) {
    WireReader reader{bytes};
    LaunchConfig config;
    fd_mask = HF_TRY(reader.get<std::uint16_t>());
    const auto kind = HF_TRY(reader.get<std::uint8_t>());
    if (kind < static_cast<std::uint8_t>(NetKind::Tap) || kind > static_cast<std::uint8_t>(NetKind::Passt)) {
        return peer_fault("unknown kind of network");
    }
    config.net_kind = static_cast<NetKind>(kind);
    config.vsock_cid = HF_TRY(reader.get<std::uint32_t>());
    const auto disks = HF_TRY(reader.get<std::uint8_t>());
    if (disks > kMaxDisks) return peer_fault("too many disks");
    for (std::uint8_t i = 0; i < disks; ++i) {
        Disk disk;
        disk.size_bytes = HF_TRY(reader.get<std::uint64_t>());
        disk.read_only = HF_TRY(get_bool(reader));
        disk.direct = HF_TRY(get_bool(reader));
        if (disk.size_bytes > INT64_MAX || disk.size_bytes % 512 != 0) {
            return peer_fault("disk is too large or not whole sectors");
        }
        config.disks.push_back(std::move(disk));
    }
    HF_TRY(reader.expect_end());
    if ((fd_mask & ~kAllFds) != 0 || (fd_mask & kNeededFds) != kNeededFds) {
        return peer_fault("launch message lacks a descriptor");
    }
    return config;
}

}  // namespace

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config) {
    std::uint16_t mask = 0;
    std::vector<int> numbers;
    for (std::size_t i = 0; i < kFds.size(); ++i) {
        if (!(config.*kFds[i])) continue;
        mask = static_cast<std::uint16_t>(mask | 1U << i);
        numbers.push_back((config.*kFds[i]).get());
    }
    WireWriter writer;
    writer.put(mask);
    writer.put(static_cast<std::uint8_t>(config.net_kind));
    writer.put(config.vsock_cid);
    writer.put(static_cast<std::uint8_t>(config.disks.size()));
    for (const Disk& disk : config.disks) {
        writer.put(disk.size_bytes);
        writer.put(static_cast<std::uint8_t>(disk.read_only));
        writer.put(static_cast<std::uint8_t>(disk.direct));
        numbers.push_back(disk.file.get());
    }
    return send_message(socket, writer.bytes(), numbers);
}

Result<LaunchConfig> receive_launch(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxLaunchBytes));
    if (message.bytes.empty()) return peer_fault("nobody handed over a launch");
    std::uint16_t mask = 0;
    LaunchConfig config = HF_TRY(decode(message.bytes, mask));
    const auto expected = static_cast<std::size_t>(std::popcount(mask)) + config.disks.size();
    if (message.fds.size() != expected) return peer_fault("launch message lacks a descriptor");
    std::size_t next = 0;
    for (std::size_t i = 0; i < kFds.size(); ++i) {
        if ((mask & 1U << i) != 0) config.*kFds[i] = std::move(message.fds[next++]);
    }
    for (Disk& disk : config.disks) disk.file = std::move(message.fds[next++]);
    return config;
}

Result<void> send_report(const UniqueFd& socket, const Report& report) {
    WireWriter writer;
    if (std::holds_alternative<Ready>(report)) {
        writer.put(static_cast<std::uint8_t>(ReportKind::Ready));
    } else if (const auto* connect = std::get_if<VsockConnect>(&report)) {
        writer.put(static_cast<std::uint8_t>(ReportKind::VsockConnect));
        writer.put(connect->token);
        writer.put(connect->port);
    } else if (const auto* failed = std::get_if<Failed>(&report)) {
        writer.put(static_cast<std::uint8_t>(ReportKind::Failed));
        writer.put_string(std::string_view{failed->detail}.substr(0, kMaxDetail));
    }
    return send_message(socket, writer.bytes());
}

Result<std::optional<Report>> receive_report(const UniqueFd& socket) {
    const Message message = HF_TRY(receive_message(socket, kMaxReportBytes));
    if (message.bytes.empty()) return std::optional<Report>{};
    if (!message.fds.empty()) return peer_fault("report from holdfast-io carries a descriptor");
    WireReader reader{message.bytes};
    Report report;
    switch (static_cast<ReportKind>(HF_TRY(reader.get<std::uint8_t>()))) {
        case ReportKind::Ready: report = Ready{}; break;
        case ReportKind::VsockConnect: {
            VsockConnect connect;
            connect.token = HF_TRY(reader.get<std::uint32_t>());
            connect.port = HF_TRY(reader.get<std::uint32_t>());
            report = connect;
            break;
        }
        case ReportKind::Failed: report = Failed{HF_TRY(reader.get_string())}; break;
        default: return peer_fault("unknown report from holdfast-io");
    }
    HF_TRY(reader.expect_end());
    return std::optional{std::move(report)};
}

Result<void> send_answer(const UniqueFd& socket, const VsockAnswer& answer) {
    WireWriter writer;
    writer.put(answer.token);
    const int stream = answer.stream.get();
    return send_message(socket, writer.bytes(), {&stream, answer.stream ? 1U : 0U});
}

Result<std::optional<VsockAnswer>> receive_answer(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxReportBytes));
    if (message.bytes.empty()) return std::optional<VsockAnswer>{};
    if (message.fds.size() > 1) return peer_fault("too many descriptors in an answer");
    WireReader reader{message.bytes};
    VsockAnswer answer{.token = HF_TRY(reader.get<std::uint32_t>()), .stream = {}};
    HF_TRY(reader.expect_end());
    if (!message.fds.empty()) answer.stream = std::move(message.fds[0]);
    return std::optional{std::move(answer)};
}

}  // namespace holdfast::io
