// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/launch.hpp"

#include <array>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"

namespace holdfast::anchor {
namespace {

// The order of descriptors in the message; the last is there in mode Serve alone.
constexpr std::array<UniqueFd LaunchConfig::*, 5> kFds{&LaunchConfig::tpm, &LaunchConfig::keys,
                                                       &LaunchConfig::log0, &LaunchConfig::log1,
                                                       &LaunchConfig::listener};
constexpr std::size_t kMaxLaunchBytes = 512;
constexpr std::size_t kMaxReportBytes = 1024;
constexpr std::size_t kMaxDetail = 512;

Result<bool> get_bool(WireReader& reader) {
    const auto value = HF_TRY(reader.get<std::uint8_t>());
    if (value > 1) return peer_fault("flag is neither 0 nor 1");
    return value == 1;
}

}  // namespace

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(config.mode));
    writer.put(static_cast<std::uint8_t>(config.adopt_checkpoints));
    writer.put(static_cast<std::uint8_t>(config.software_tpm));
    writer.put(config.pcrs);
    writer.put_bytes(config.update_key);
    writer.put_bytes(config.approval);
    writer.put(config.daily_budget);
    writer.put(config.stores_a_second);
    std::array<int, kFds.size()> numbers{};
    for (std::size_t i = 0; i < kFds.size(); ++i) numbers[i] = (config.*kFds[i]).get();
    const std::size_t count = kFds.size() - (config.mode == Mode::Init ? 1 : 0);
    return send_message(socket, writer.bytes(), std::span{numbers}.first(count));
}

Result<LaunchConfig> receive_launch(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxLaunchBytes));
    if (message.bytes.empty()) return peer_fault("nobody handed over a launch");
    WireReader reader{message.bytes};
    LaunchConfig config;
    const auto mode = HF_TRY(reader.get<std::uint8_t>());
    if (mode != 1 && mode != 2) return peer_fault("unknown mode of the anchor");
    config.mode = static_cast<Mode>(mode);
    config.adopt_checkpoints = HF_TRY(get_bool(reader));
    config.software_tpm = HF_TRY(get_bool(reader));
    config.pcrs = HF_TRY(reader.get<std::uint32_t>());
    for (auto* const field : {&config.update_key, &config.approval}) {
        const auto bytes = HF_TRY(reader.get_bytes());
        field->assign(bytes.begin(), bytes.end());
    }
    config.daily_budget = HF_TRY(reader.get<std::uint64_t>());
    config.stores_a_second = HF_TRY(reader.get<std::uint64_t>());
    HF_TRY(reader.expect_end());
    if (config.pcrs >= 1U << 24) return peer_fault("there are 24 PCRs");
    const std::size_t count = kFds.size() - (config.mode == Mode::Init ? 1 : 0);
    if (message.fds.size() != count) return peer_fault("launch message lacks a descriptor");
    for (std::size_t i = 0; i < count; ++i) config.*kFds[i] = std::move(message.fds[i]);
    return config;
}

Result<void> send_report(const UniqueFd& socket, const Report& report) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(report.index()));
    if (const auto* ready = std::get_if<Ready>(&report)) {
        writer.put(ready->o);
        writer.put(ready->s);
        writer.put(static_cast<std::uint8_t>(ready->adopted));
    } else if (const auto* refused = std::get_if<RefusedReport>(&report)) {
        writer.put(static_cast<std::uint8_t>(refused->state));
        writer.put_string(std::string_view{refused->detail}.substr(0, kMaxDetail));
    }
    return send_message(socket, writer.bytes());
}

Result<std::optional<Report>> receive_report(const UniqueFd& socket) {
    const Message message = HF_TRY(receive_message(socket, kMaxReportBytes));
    if (message.bytes.empty()) return std::optional<Report>{};
    WireReader reader{message.bytes};
    Report report;
    const auto kind = HF_TRY(reader.get<std::uint8_t>());
    if (kind == 0) {
        Ready ready;
        ready.o = HF_TRY(reader.get<std::uint64_t>());
        ready.s = HF_TRY(reader.get<std::uint64_t>());
        ready.adopted = HF_TRY(get_bool(reader));
        report = ready;
    } else if (kind == 1) {
        RefusedReport refused;
        const auto state = HF_TRY(reader.get<std::uint8_t>());
        if (state == 0 || state > static_cast<std::uint8_t>(Refused::TpmForged))
            return peer_fault("unknown refusal");
        refused.state = static_cast<Refused>(state);
        refused.detail = HF_TRY(reader.get_string());
        report = refused;
    } else {
        return peer_fault("unknown report from holdfast-anchor");
    }
    HF_TRY(reader.expect_end());
    return std::optional{std::move(report)};
}

}  // namespace holdfast::anchor
