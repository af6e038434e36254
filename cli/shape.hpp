// SPDX-License-Identifier: Apache-2.0
// The shape of one VM as the user gives it: one table of settings feeds the flags of `run`, the keys
// of VM.toml, the man page and the completions, so they cannot drift.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "vmm/launch.hpp"

namespace holdfast::cli {

struct Bundle;

enum class SettingKind : std::uint8_t { Text, Number, Flag, List };
/// Where a file's path stands in the value; relative ones in VM.toml start at that file.
enum class PathPart : std::uint8_t { None, Front, AfterEquals };

struct Setting {
    std::string_view name;
    SettingKind kind;
    PathPart path;
    std::string_view value;  ///< what help calls it
    std::string_view help;
    std::string_view choices;  ///< words that completion offers, separated by blanks
};
[[nodiscard]] std::span<const Setting> setting_table() noexcept;

/// Values as written, by setting name; a flag that is set has the value "true".
using Settings = std::map<std::string, std::vector<std::string>, std::less<>>;

/// Reads VM.toml. Unknown keys and wrong types are failures that name the line.
[[nodiscard]] Settings read_config(const std::string& path);
/// Makes relative paths in the values start at `directory`.
void start_paths_at(const std::filesystem::path& directory, Settings& settings);

enum class OnReboot : std::uint8_t { Restart, Exit };
enum class ConsoleKind : std::uint8_t { Serial, Virtio };

struct DiskChoice {
    std::string path;
    bool read_only = false;
};
struct Forward {
    std::uint16_t host_port = 0;  ///< on 127.0.0.1
    std::uint16_t guest_port = 0;
};
struct VsockChoice {
    std::uint32_t cid = 0;
    std::string path;
};

/// All values checked; files not opened yet.
struct Shape {
    std::string name;
    bool builtin = false;
    std::string kernel;
    std::string initrd;
    std::string cmdline;
    std::uint64_t memory_bytes = 512ULL << 20;
    std::uint32_t cpus = 1;
    memcrypt::Tier tier = memcrypt::Tier::Software;
    vmm::SoftwareShape software;
    std::vector<DiskChoice> disks;
    bool net = false;
    std::optional<std::array<std::uint8_t, 6>> mac;  ///< none: made from the VM's name
    int tap_fd = -1;                                 ///< the open descriptor of a tap, or
    std::string tap;                                 ///< an interface's name; neither: passt
    std::vector<Forward> forwards;
    std::optional<VsockChoice> vsock;
    std::vector<std::string> devices;  ///< of the host, by address
    std::string device_policy;         ///< empty: the host's own
    bool vtpm = false;                 ///< the VM has a TPM:
    bool vtpm_strict = false;          ///< anchored, and each store survives a power cut
    std::string vtpm_socket;  ///< that of somebody else; empty: the host's vTPM that has the VM's name
    ConsoleKind console = ConsoleKind::Serial;
    OnReboot on_reboot = OnReboot::Restart;
    bool paused = false;
    std::shared_ptr<const Bundle> bundle;  ///< kernel and initrd are files of it
};

/// What the flags say goes before what the file says, setting by setting.
[[nodiscard]] Shape resolve(const Settings& flags, const Settings& file);

/// "512M", "2G", "1048576": bytes. None if it is not a size or overflows.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text) noexcept;
/// Throws HF-0102.
void check_name(std::string_view name);

}  // namespace holdfast::cli
