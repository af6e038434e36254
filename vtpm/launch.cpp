// SPDX-License-Identifier: Apache-2.0
#include "vtpm/launch.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>

#include <sys/socket.h>

#include "sys/socket.hpp"
#include "sys/wire/codec.hpp"
#include "vtpm/state/seal.hpp"

namespace holdfast::vtpm {
namespace {

// Their order in the message; bit i of a mask says that the i-th is there.
constexpr std::array<UniqueFd Launch::*, 6> kFds{&Launch::state, &Launch::listener, &Launch::control,
                                                 &Launch::data,  &Launch::anchor,   &Launch::quotes};
constexpr std::uint8_t kState = 1;
constexpr std::uint8_t kListener = 2;
constexpr std::uint8_t kControl = 4;
constexpr std::uint8_t kData = 8;
constexpr std::uint8_t kAnchor = 16;
constexpr std::uint8_t kQuotes = 32;
constexpr std::size_t kMaxLaunch = 256;
constexpr std::size_t kMaxReport = 1024;
constexpr std::size_t kMaxDetail = 512;

bool makes_sense(std::uint8_t mask) {
    mask = static_cast<std::uint8_t>(mask & ~(kAnchor | kQuotes));
    return mask == (kState | kListener) || mask == (kState | kControl) || mask == (kState | kControl | kData);
}

Result<Launch> decode(std::span<const std::byte> bytes, std::uint8_t& mask) {
    WireReader reader{bytes};
    Launch launch;
    mask = HF_TRY(reader.get<std::uint8_t>());
    const auto start = HF_TRY(reader.get<std::uint8_t>());
    if (start < static_cast<std::uint8_t>(Start::Stored) ||
        start > static_cast<std::uint8_t>(Start::Incoming)) {
        return peer_fault("unknown way to start a vTPM");
    }
    launch.start = static_cast<Start>(start);
    const auto id = HF_TRY(reader.get_bytes());
    if (id.size() != kIdBytes) return peer_fault("a vTPM's id has 16 bytes");
    std::memcpy(launch.identity.id.data(), id.data(), kIdBytes);
    launch.identity.name = HF_TRY(reader.get_string());
    const auto tenant = HF_TRY(reader.get_bytes());
    if (tenant.size() != launch.tenant.size()) return peer_fault("a tenant's digest has 32 bytes");
    std::memcpy(launch.tenant.data(), tenant.data(), tenant.size());
    const auto strict = HF_TRY(reader.get<std::uint8_t>());
    if (strict > 1) return peer_fault("flag is neither 0 nor 1");
    launch.strict = strict == 1;
    HF_TRY(reader.expect_end());
    if (launch.identity.name.empty() || launch.identity.name.size() > kMaxName) {
        return peer_fault("a vTPM's name is too long or empty");
    }
    if (!makes_sense(mask)) return peer_fault("launch message lacks a descriptor");
    return launch;
}

Result<SecretBytes> receive_key(const UniqueFd& socket) {
    SecretBytes key = HF_TRY(SecretBytes::create(kStateKeyBytes));
    ssize_t n = -1;
    do {
        n = ::recv(socket.get(), key.bytes().data(), key.bytes().size(), MSG_TRUNC);
    } while (n < 0 && errno == EINTR);
    if (n < 0) return os_error("receive the key of the state");
    if (static_cast<std::size_t>(n) != kStateKeyBytes)
        return peer_fault("the state's key has a wrong length");
    return key;
}

}  // namespace

Result<void> send_launch(const UniqueFd& socket, const Launch& launch, const SecretBytes& state_key) {
    std::uint8_t mask = 0;
    std::vector<int> numbers;
    for (std::size_t i = 0; i < kFds.size(); ++i) {
        if (!(launch.*kFds[i])) continue;
        mask = static_cast<std::uint8_t>(mask | 1U << i);
        numbers.push_back((launch.*kFds[i]).get());
    }
    WireWriter writer;
    writer.put(mask);
    writer.put(static_cast<std::uint8_t>(launch.start));
    writer.put_bytes(launch.identity.id);
    writer.put_string(launch.identity.name);
    writer.put_bytes(launch.tenant);
    writer.put(static_cast<std::uint8_t>(launch.strict));
    HF_TRY(send_message(socket, writer.bytes(), numbers));
    return send_message(socket, state_key.bytes());
}

Result<ReceivedLaunch> receive_launch(const UniqueFd& socket) {
    Message message = HF_TRY(receive_message(socket, kMaxLaunch));
    if (message.bytes.empty()) return peer_fault("nobody handed over a launch");
    std::uint8_t mask = 0;
    Launch launch = HF_TRY(decode(message.bytes, mask));
    if (message.fds.size() != static_cast<std::size_t>(std::popcount(mask))) {
        return peer_fault("launch message lacks a descriptor");
    }
    std::size_t next = 0;
    for (std::size_t i = 0; i < kFds.size(); ++i) {
        if ((mask & 1U << i) != 0) launch.*kFds[i] = std::move(message.fds[next++]);
    }
    return ReceivedLaunch{.launch = std::move(launch), .state_key = HF_TRY(receive_key(socket))};
}

Result<void> send_report(const UniqueFd& socket, const Report& report) {
    WireWriter writer;
    writer.put(static_cast<std::uint8_t>(report.ready));
    writer.put(static_cast<std::uint8_t>(report.input));
    writer.put_string(std::string_view{report.detail}.substr(0, kMaxDetail));
    return send_message(socket, writer.bytes());
}

Result<std::optional<Report>> receive_report(const UniqueFd& socket) {
    const Message message = HF_TRY(receive_message(socket, kMaxReport));
    if (message.bytes.empty()) return std::optional<Report>{};
    if (!message.fds.empty()) return peer_fault("report from holdfast-vtpm carries a descriptor");
    WireReader reader{message.bytes};
    Report report;
    report.ready = HF_TRY(reader.get<std::uint8_t>()) == 1;
    report.input = HF_TRY(reader.get<std::uint8_t>()) == 1;
    report.detail = HF_TRY(reader.get_string());
    HF_TRY(reader.expect_end());
    return std::optional{std::move(report)};
}

}  // namespace holdfast::vtpm
