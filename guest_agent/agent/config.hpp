// SPDX-License-Identifier: Apache-2.0
// /etc/holdfast/agent.conf, which `holdfast image` puts into the initramfs: so it is measured with it, and
// the host decides nothing in it. Lines of `key = value`; `#` begins a comment; a key that is not known is an
// error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "guest_agent/group/pace.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"

namespace holdfast::agent {

inline constexpr const char* kConfigFile = "/etc/holdfast/agent.conf";
/// After a disk has become the root the measured file is here, and counts.
inline constexpr const char* kLeftBehind = "/run/holdfast";
inline constexpr const char* kConfigLeftBehind = "/run/holdfast/agent.conf";
inline constexpr std::size_t kMaxConfig = 64U << 10;

/// Read-only data: what is on this disk is the data that the root hash stands for, or cannot be read
/// (dm-verity, hash type 1: SHA-256, blocks of 4096 bytes, no salt). The hash tree follows the data.
struct VerityDisk {
    std::string device;        ///< `verity = /dev/vdb`; empty: none
    std::uint64_t blocks = 0;  ///< `verity-blocks = NUMBER`: of data
    std::string root;          ///< `verity-root = HEX`
    std::string mount;         ///< `verity-mount = /models`: where its file system goes
};

struct Config {
    std::string program;                 ///< absolute; empty: none, and the agent only serves
    std::vector<std::string> arguments;  ///< each `argument = ...`, in order
    bool power_off = true;               ///< `at-end = power-off` or `stay`: once the program has ended
    bool serve_host = true;              ///< `calls-in = yes` or `no`
    std::string disk;                    ///< `disk = /dev/vda`: LUKS2; it becomes /dev/mapper/disk
    std::string disk_secret;             ///< `disk-secret = NAME`: its key, as the broker calls it
    std::string disk_mount;              ///< `disk-mount = /data`: where its file system goes; empty: nowhere
    std::string disk_root;               ///< `disk-root = /sbin/init`: instead, it becomes the root
    VerityDisk verity;
    std::vector<std::vector<std::byte>>
        peer_hosts;                  ///< each `peer-host = HEX`: TPM name of a host's attestation key
    bool peer_software_tpm = false;  ///< `peer-software-tpm = yes` or `no`: for tests of it all
    std::chrono::seconds channel_renewal{1800};  ///< `channel-renewal = SECONDS`: fresh evidence so often
    std::chrono::seconds channel_grace{300};     ///< `channel-grace = SECONDS`: and so much later it ends
    group::Pace group_pace;  ///< `group-rotation`, `-patience`, `-renewal` and `-grace = SECONDS`
    /// `group-founders = N`: so many members begin a group, and the others may join it while it lives. 0: all
    /// of them begin it, and nobody joins.
    std::size_t group_founders = 0;
    std::vector<Digest256> broker_keys;  ///< each `broker-key = HEX`: SHA-256 of a SubjectPublicKeyInfo
};

/// An Input error that names what is wrong.
[[nodiscard]] Result<Config> parse_config(std::string_view text);
/// What `holdfast image` has put in, or what was left behind of it. Without a file: the defaults.
[[nodiscard]] Result<Config> read_config();

}  // namespace holdfast::agent
