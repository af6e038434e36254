// SPDX-License-Identifier: Apache-2.0
#include "guest_agent/agent/disk.hpp"

#include <array>
#include <cerrno>

#include <sys/mount.h>
#include <sys/stat.h>

#include "guest_agent/agent/boot.hpp"
#include "guest_agent/agent/cryptsetup.hpp"
#include "guest_agent/agent/secret.hpp"
#include "guest_agent/agent/tool.hpp"
#include "guest_agent/agent/tpm_device.hpp"
#include "guest_agent/keystore/keystore.hpp"
#include "sys/log.hpp"

namespace holdfast::agent {
namespace {

using keystore::Counter;

/// Written in turn: the one that opened stays until the other one counts.
constexpr std::array kTokens{0U, 1U};
constexpr const char* kVerityName = "data";  // in /dev/mapper
constexpr std::uint64_t kVerityBlock = 4096;

struct FoundKey {
    SecretBuffer key;
    unsigned free_token = kTokens[0];  ///< that did not give it
};

Result<FoundKey> key_of_disk(const keystore::RunCommand& tpm, const std::string& device) {
    for (const unsigned id : kTokens) {
        const auto sealed = HF_TRY(read_token(device, id));
        if (!sealed) continue;
        auto key = keystore::unseal(tpm, *sealed, Counter::Disk);
        if (key) return FoundKey{.key = std::move(*key), .free_token = 1 - id};
        log::warn("disk_key_not_opened", key.error(), {{"token", id}});
    }
    return input_error(
        "this disk has no key that this vTPM sealed last: it is an older one (a rollback), another "
        "one, or for another image");
}

Result<FoundKey> key_from_broker(const Config& config) {
    FoundKey found{.key = HF_TRY(fetch_secret(config, config.disk_secret))};
    if (found.key.bytes().size() > keystore::kMaxSecret)
        return input_error("a disk's key has at most 128 bytes");
    return found;
}

/// Whatever moment the power fails in: one of both tokens opens, or the broker is asked as if for the first
/// time.
Result<void> seal_for_next_boot(const keystore::RunCommand& tpm, const std::string& device,
                                const FoundKey& found, bool is_first) {
    const auto sealed = HF_TRY(keystore::seal_for_next(tpm, found.key.bytes(), Counter::Disk));
    HF_TRY(write_token(device, found.free_token, sealed));
    HF_TRY(keystore::advance(tpm, Counter::Disk));
    if (is_first) HF_TRY(keystore::mark_disk(tpm));
    return {};
}

Result<void> mount_disk(const Config& config) {
    const bool is_root = !config.disk_root.empty();
    const std::string at = is_root ? kNewRoot : config.disk_mount;
    if (at.empty()) return {};
    if (::mkdir(at.c_str(), 0755) < 0 && errno != EEXIST) return os_error("mkdir for the disk");
    const std::string device = std::string{"/dev/mapper/"} + kDiskName;
    // A system has programs that change users.
    const unsigned long flags = is_root ? 0 : MS_NOSUID | MS_NODEV;
    if (::mount(device.c_str(), at.c_str(), "ext4", flags, nullptr) < 0) return os_error("mount the disk");
    return {};
}

}  // namespace

Result<void> open_disk(const Config& config) {
    const auto tpm = HF_TRY(open_tpm());
    const bool is_first = !HF_TRY(keystore::is_disk_marked(tpm));
    const FoundKey found = is_first ? HF_TRY(key_from_broker(config)) : HF_TRY(key_of_disk(tpm, config.disk));
    HF_TRY(open_luks(config.disk, kDiskName, found.key.bytes()));
    HF_TRY(seal_for_next_boot(tpm, config.disk, found, is_first));
    log::info("disk_open", {{"device", config.disk}, {"key_from", is_first ? "broker" : "vTPM"}});
    return mount_disk(config);
}

// Everything by which the tree is read is measured, and its root at the end: there is no superblock that the
// host could change.
Result<void> open_verity(const Config& config) {
    const VerityDisk& verity = config.verity;
    const std::string blocks = std::to_string(verity.blocks);
    const std::string tree = std::to_string(verity.blocks * kVerityBlock);
    HF_TRY(run_tool_well(kVeritysetup,
                         {"open", "--no-superblock", "--hash=sha256", "--salt=-", "--format=1",
                          "--data-block-size=4096", "--hash-block-size=4096", "--data-blocks=" + blocks,
                          "--hash-offset=" + tree, verity.device, kVerityName, verity.device, verity.root},
                         {}, "veritysetup does not open the read-only data: its words are above"));
    const std::string at = (config.disk_root.empty() ? "" : kNewRoot) + verity.mount;
    if (::mkdir(at.c_str(), 0755) < 0 && errno != EEXIST) return os_error("mkdir for the read-only data");
    const std::string device = std::string{"/dev/mapper/"} + kVerityName;
    if (::mount(device.c_str(), at.c_str(), "ext4", MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) < 0)
        return Error{Fault::Input, errno,
                     "the read-only data are not those that agent.conf names by verity-root, or no ext4 of "
                     "4096-byte blocks"};
    log::info("read_only_data", {{"device", verity.device}, {"root", verity.root}});
    return {};
}

}  // namespace holdfast::agent
