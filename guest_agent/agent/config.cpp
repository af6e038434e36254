// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/config.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>

#include <fcntl.h>
#include <unistd.h>

#include "attest/text/encoding.hpp"
#include "guest_agent/group/messages.hpp"
#include "sys/fd.hpp"

namespace holdfast::agent {
namespace {

constexpr std::uint64_t kMaxSeconds = 86'400;
constexpr std::uint64_t kMaxBlocks = 1ULL << 40;

std::string_view trimmed(std::string_view text) {
    const auto begin = text.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) return {};
    return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

Result<bool> one_of(std::string_view value, std::string_view yes, std::string_view no, const char* what) {
    if (value == yes) return true;
    if (value == no) return false;
    return input_error(what);
}

Result<std::string_view> absolute(std::string_view path) {
    if (!path.starts_with('/')) return input_error("agent.conf: a path that is not absolute");
    return path;
}

Result<Digest256> digest_of(std::string_view hex) {
    const auto bytes = attest::bytes_of_hex(hex);
    Digest256 digest{};
    if (!bytes || bytes->size() != digest.size())
        return input_error("agent.conf: a hash has 64 hexadecimal digits");
    std::ranges::copy(*bytes, digest.begin());
    return digest;
}

Result<std::uint64_t> number_of(std::string_view text, std::uint64_t most, const char* otherwise) {
    std::uint64_t number = 0;
    const auto [end, wrong] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (wrong != std::errc{} || end != text.data() + text.size() || number == 0 || number > most)
        return input_error(otherwise);
    return number;
}

Result<std::chrono::seconds> seconds_of(std::string_view text) {
    return std::chrono::seconds{
        HF_TRY(number_of(text, kMaxSeconds, "agent.conf: a time is a number of seconds, from 1 to 86400"))};
}

Result<void> take_verity(VerityDisk& verity, std::string_view key, std::string_view value) {
    if (key == "verity") {
        verity.device = HF_TRY(absolute(value));
    } else if (key == "verity-mount") {
        verity.mount = HF_TRY(absolute(value));
    } else if (key == "verity-blocks") {
        verity.blocks = HF_TRY(number_of(value, kMaxBlocks, "agent.conf: verity-blocks is a number"));
    } else if (key == "verity-root") {
        verity.root = hex(HF_TRY(digest_of(value)));
    } else {
        return input_error("agent.conf: a key that is not known");
    }
    return {};
}

Result<void> take_line(Config& config, std::string_view key, std::string_view value) {
    if (key == "program") {
        config.program = HF_TRY(absolute(value));
    } else if (key == "disk") {
        config.disk = HF_TRY(absolute(value));
    } else if (key == "disk-secret") {
        config.disk_secret = value;
    } else if (key == "disk-mount") {
        config.disk_mount = HF_TRY(absolute(value));
    } else if (key == "disk-root") {
        config.disk_root = HF_TRY(absolute(value));
    } else if (key.starts_with("verity")) {
        HF_TRY(take_verity(config.verity, key, value));
    } else if (key == "argument") {
        config.arguments.emplace_back(value);
    } else if (key == "at-end") {
        config.power_off =
            HF_TRY(one_of(value, "power-off", "stay", "agent.conf: at-end is power-off or stay"));
    } else if (key == "calls-in") {
        config.serve_host = HF_TRY(one_of(value, "yes", "no", "agent.conf: calls-in is yes or no"));
    } else if (key == "peer-host") {
        config.peer_hosts.push_back(HF_TRY(attest::bytes_of_hex(value)));
    } else if (key == "peer-software-tpm") {
        config.peer_software_tpm =
            HF_TRY(one_of(value, "yes", "no", "agent.conf: peer-software-tpm is yes or no"));
    } else if (key == "channel-renewal") {
        config.channel_renewal = HF_TRY(seconds_of(value));
    } else if (key == "channel-grace") {
        config.channel_grace = HF_TRY(seconds_of(value));
    } else if (key == "group-rotation") {
        config.group_pace.rotation = HF_TRY(seconds_of(value));
    } else if (key == "group-patience") {
        config.group_pace.patience = HF_TRY(seconds_of(value));
    } else if (key == "group-renewal") {
        config.group_pace.renewal = HF_TRY(seconds_of(value));
    } else if (key == "group-grace") {
        config.group_pace.grace = HF_TRY(seconds_of(value));
    } else if (key == "group-founders") {
        config.group_founders = HF_TRY(
            number_of(value, group::kMaxMembers, "agent.conf: group-founders is a number, from 1 to 64"));
    } else if (key == "broker-key") {
        config.broker_keys.push_back(HF_TRY(digest_of(value)));
    } else {
        return input_error("agent.conf: a key that is not known");
    }
    return {};
}

Result<Config> expect_sound(Config config) {
    const bool has_root = !config.disk_root.empty();
    if (has_root && config.disk.empty()) return input_error("agent.conf: disk-root without a disk");
    if (has_root && !config.disk_mount.empty())
        return input_error("agent.conf: with disk-root the disk is not mounted anywhere else");
    if (has_root && !config.program.empty())
        return input_error("agent.conf: with disk-root the disk has the program, and the image none");
    const VerityDisk& verity = config.verity;
    const int said =
        !verity.device.empty() + !verity.root.empty() + !verity.mount.empty() + (verity.blocks != 0);
    if (said != 0 && said != 4)
        return input_error("agent.conf: verity, verity-blocks, verity-root and verity-mount go together");
    return config;
}

}  // namespace

Result<Config> parse_config(std::string_view text) {
    Config config;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.starts_with('#')) continue;
        const std::size_t sign = line.find('=');
        if (sign == std::string_view::npos) return input_error("agent.conf: a line without '='");
        HF_TRY(take_line(config, trimmed(line.substr(0, sign)), trimmed(line.substr(sign + 1))));
    }
    if (!config.disk.empty() && config.disk_secret.empty())
        return input_error("agent.conf: a disk without disk-secret");
    return expect_sound(std::move(config));
}

Result<Config> read_config() {
    UniqueFd fd{::open(kConfigLeftBehind, O_RDONLY | O_CLOEXEC)};
    if (!fd && errno == ENOENT) fd.reset(::open(kConfigFile, O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return Config{};
    if (!fd) return os_error("open agent.conf");
    const auto size = HF_TRY(file_size(fd));
    if (size > kMaxConfig) return input_error("agent.conf is too long");
    std::string text(size, '\0');
    HF_TRY(pread_exact(fd, std::as_writable_bytes(std::span{text}), 0));
    return parse_config(text);
}

}  // namespace holdfast::agent
