// SPDX-License-Identifier: Apache-2.0
// Where a VM's sockets, logs and record live: ROOT/NAME, mode 0700. A lock file tells a living VM's
// directory from what a dead one left behind; nothing else does (no pid files, no guessing).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "cli/pcrs.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {

/// What evidence says of the bundle that a VM was launched from.
struct LaunchedBundle {
    std::string name;
    std::string key;     ///< SHA-256 of the signer's SubjectPublicKeyInfo, in hexadecimal
    std::string digest;  ///< SHA-384 of the manifest
    std::uint64_t security_version = 0;
};

/// What `status` tells about a VM: written by its supervisor, read by everybody else.
struct Record {
    std::string name;
    std::string state;  ///< starting, running, ended
    int pid = 0;        ///< of the supervisor
    std::string tier;
    std::string launch_digest;  ///< hex; empty: the tier has none
    PcrTexts pcrs;              ///< at the guest's first instruction; empty: it has no vTPM
    std::uint64_t memory_bytes = 0;
    std::optional<std::uint64_t> clear_window_bytes;  ///< tiers that promise one
    std::uint32_t cpus = 0;
    std::string boots;      ///< "builtin", or the kernel's path
    std::string shape;      ///< docs/launch_digest.md
    bool own_vtpm = false;  ///< the vTPM is the host's one of the VM's name
    std::optional<LaunchedBundle> bundle;
    std::int64_t started_at = 0;
    std::int64_t ended_at = 0;
    std::uint32_t reboots = 0;
    std::string end_reason;  ///< power-off, failure, reboot, panic, tampered, killed
    std::string end_detail;
    int exit_status = 0;
    std::string qmp_socket;
    std::string console_socket;
};

/// One object as design §7 says; what a tier does not have is null. `memory` is what QMP's query-memcrypt
/// answered, or null: then the object has no such key.
[[nodiscard]] std::string to_json(const Record& record);
[[nodiscard]] std::string to_json(const Record& record, const nlohmann::json& memory);

/// The directory of a VM that this process supervises: made and locked by claim(), and unless kept
/// removed with all it holds when this goes.
class StateDirectory {
public:
    /// Throws HF-0401 or HF-0402. What a dead VM of this name left is removed.
    static StateDirectory claim(const std::string& root, const std::string& name);

    StateDirectory(StateDirectory&& other) noexcept
        : path_{std::exchange(other.path_, {})}, lock_{std::move(other.lock_)}, keep_{other.keep_} {}
    StateDirectory& operator=(StateDirectory&&) = delete;
    ~StateDirectory();

    [[nodiscard]] std::string file(const char* name) const { return path_ + '/' + name; }
    void write_record(const Record& record) const;
    /// Leaves the record and the logs for `status` and `logs`; sockets go in any case.
    void keep_record() noexcept { keep_ = true; }

private:
    StateDirectory(std::string path, UniqueFd lock) noexcept
        : path_{std::move(path)}, lock_{std::move(lock)} {}
    std::string path_;
    UniqueFd lock_;
    bool keep_ = false;
};

inline constexpr const char* kQmpSocket = "qmp.sock";
inline constexpr const char* kConsoleSocket = "console.sock";
inline constexpr const char* kVmmLog = "vmm.log";
inline constexpr const char* kConsoleLog = "console.log";
inline constexpr const char* kEventLog = "event_log";  ///< that the VMM gave the guest with its vTPM

/// Where new VMs go: `state_dir`/run if given, else $XDG_RUNTIME_DIR/holdfast or /run/holdfast.
[[nodiscard]] std::string state_root(const std::string& state_dir);

/// A VM as found in a state directory.
struct FoundVm {
    Record record;
    std::string path;
    bool alive = false;
};
/// All VMs that this user may see, by name. Directories that are being made or removed are skipped.
[[nodiscard]] std::vector<FoundVm> find_vms(const std::string& state_dir);
/// Throws HF-0403.
[[nodiscard]] FoundVm find_vm(const std::string& state_dir, const std::string& name);
/// find_vm() that throws HF-0404 unless it is alive.
[[nodiscard]] FoundVm find_living_vm(const std::string& state_dir, const std::string& name);
/// Removes the records of VMs that ended more than a day ago.
void forget_old_vms(const std::string& root);

}  // namespace holdfast::cli
