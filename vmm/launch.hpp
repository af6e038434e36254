// SPDX-License-Identifier: Apache-2.0
// What the command line hands to holdfast-vmm, and what it hears back: messages on the handover
// socket (SEQPACKET, descriptor 3). The descriptors travel with the first message (SCM_RIGHTS).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "memcrypt/cipher/page_cipher.hpp"
#include "memcrypt/guest_memory.hpp"
#include "sys/fd.hpp"
#include "sys/result.hpp"
#include "sys/sha2.hpp"
#include "vtpm/eventlog/event_log.hpp"

namespace holdfast::vmm {

inline constexpr std::size_t kMaxLaunchBytes = 64 * 1024;
inline constexpr std::uint32_t kMaxCpus = 64;
inline constexpr std::uint64_t kMinMemory = 16ULL << 20;
inline constexpr std::uint64_t kMaxMemory = 1ULL << 40;
inline constexpr std::size_t kMaxCmdline = 2047;  ///< bytes; x86 Linux' COMMAND_LINE_SIZE less the zero

/// Bytes of a bundle's manifest and of its signer's key at most (docs/bundles.md).
inline constexpr std::size_t kMaxBundleManifest = 16U << 10;
inline constexpr std::size_t kMaxBundleSigner = 128;

struct DiskShape {
    std::uint64_t size_bytes = 0;  ///< whole 512-byte sectors
    bool read_only = false;
};
struct NetShape {
    std::array<std::uint8_t, 6> mac{};
    std::uint16_t mtu = 1500;
};

/// A device of the host that the guest has. Whoever hands it over has judged it by the policy.
struct DeviceShape {
    std::string address;  ///< in the host: 0000:01:00.0
    std::uint32_t rule = 0;
    std::uint64_t max_bytes = 0;  ///< of guest memory that it may reach at a time
    std::uint64_t max_mappings = 0;
    bool intx = false;  ///< its interrupt line is the guest's too
};
inline constexpr std::size_t kMaxDevices = 4;

/// What a VM was launched by. Whoever hands it over has verified the signature; here it is only measured.
struct BundleClaim {
    std::string manifest;  ///< as it was signed
    std::string signer;    ///< SubjectPublicKeyInfo, DER
};

/// For the tier `software`.
struct SoftwareShape {
    std::uint64_t window_bytes = 0;                ///< whole pages, from kMinClearWindow to all of memory
    std::chrono::milliseconds seal_after{30'000};  ///< 0: pages leave for want of room only
    memcrypt::Suite suite = memcrypt::kDefaultSuite;
};
inline constexpr std::uint64_t kMinClearWindow = 64 * kPageSize;

/// Everything about one VM that is not a descriptor.
struct LaunchConfig {
    std::string name;
    std::uint64_t memory_bytes = 0;
    std::uint32_t cpus = 1;
    memcrypt::Tier tier = memcrypt::Tier::None;
    SoftwareShape software;
    std::string cmdline;
    bool flat_entry = false;  ///< the kernel is our built-in guest: enter its ELF entry in 64-bit mode
    bool start_paused = false;
    bool virtio_console = false;  ///< the console is hvc0 instead of ttyS0
    std::vector<DiskShape> disks;
    std::optional<NetShape> net;
    std::optional<std::uint32_t> vsock_cid;
    std::optional<BundleClaim> bundle;
    std::vector<DeviceShape> devices;  ///< at most kMaxDevices; LaunchFds' devices are theirs
    bool vtpm = false;                 ///< the VM has a TPM: LaunchFds' tpm_control and tpm_data are there
    /// The only launch digest with which the guest may run: what a guest that reboots was launched with
    /// first.
    std::optional<Digest384> expected_digest;
};

/// What opening a device of the host by its group gives. As long as anybody has one of them open, what the
/// device reaches stays pinned: nobody but the VMM keeps any.
struct DeviceFds {
    UniqueFd container;
    UniqueFd group;
    UniqueFd device;
};

struct LaunchFds {
    UniqueFd kvm;
    UniqueFd userfaultfd;       ///< /dev/userfaultfd, for the tier `software`
    UniqueFd kernel;            ///< bzImage or ELF, told apart by content
    UniqueFd initrd;            ///< optional
    UniqueFd io_memory;         ///< io::kSharedBytes memfd
    UniqueFd io_requests;       ///< eventfd to holdfast-io
    UniqueFd io_completions;    ///< eventfd from holdfast-io
    UniqueFd console;           ///< stream socket to holdfast-io: guest console bytes both ways
    UniqueFd control_listener;  ///< the QMP socket, listening
    UniqueFd control_session;   ///< optional: a QMP client that lived through a guest reboot
    UniqueFd tpm_control;  ///< optional, with tpm_data: a vTPM's control channel (vtpm/channel/client.hpp)
    UniqueFd tpm_data;
    UniqueFd ram;  ///< optional, for the tier `software`: a file for guest RAM that is never swapped; else it
                   ///< is locked
    std::vector<DeviceFds> devices;
};

/// Every descriptor but those of devices, which follow, in the order in which they travel.
inline constexpr std::array<UniqueFd LaunchFds::*, 13> kLaunchFds{&LaunchFds::kvm,
                                                                  &LaunchFds::userfaultfd,
                                                                  &LaunchFds::kernel,
                                                                  &LaunchFds::initrd,
                                                                  &LaunchFds::io_memory,
                                                                  &LaunchFds::io_requests,
                                                                  &LaunchFds::io_completions,
                                                                  &LaunchFds::console,
                                                                  &LaunchFds::control_listener,
                                                                  &LaunchFds::control_session,
                                                                  &LaunchFds::tpm_control,
                                                                  &LaunchFds::tpm_data,
                                                                  &LaunchFds::ram};

/// Why a VM ended. The values are the exit statuses of `holdfast run` (design §7).
enum class EndReason : std::uint8_t {
    PowerOff = 0,
    Failure = 1,
    Reboot = 10,
    Panic = 11,
    Tampered = 12,
    Killed = 13,
};

/// From holdfast-vmm to whoever launched it.
/// The guest is about to run its first instruction (or paused before it).
struct Started {
    std::optional<Digest384> launch_digest;  ///< none in tier `none`
    std::vector<eventlog::PcrValue> pcrs;    ///< what was measured into the vTPM; empty if the VM has none
    std::vector<std::byte> event_log;        ///< which explains them, as the guest has it
};
struct Ended {
    EndReason reason = EndReason::Failure;
    std::string detail;        ///< one line for people; no guest bytes
    UniqueFd control_session;  ///< Reboot only: the QMP client to hand to the next VMM
};

Result<void> send_launch(const UniqueFd& socket, const LaunchConfig& config, const LaunchFds& fds);
struct Launch {
    LaunchConfig config;
    LaunchFds fds;
};
/// Checks every bound above; what comes out is safe to act on.
Result<Launch> receive_launch(const UniqueFd& socket);

Result<void> send_started(const UniqueFd& socket, const Started& started);
Result<void> send_ended(const UniqueFd& socket, const Ended& ended);
/// What a device of the host may reach has changed, or the guest wanted it to.
struct DeviceEvent {
    enum class Kind : std::uint8_t { Granted = 1, Refused = 2, Revoked = 3 };
    Kind kind = Kind::Granted;
    std::uint8_t device = 0;  ///< index in LaunchConfig::devices
    std::uint8_t why = 0;     ///< Refused: an iommu::Refusal
    bool writable = false;
    std::uint64_t iova = 0;
    std::uint64_t size = 0;  ///< Revoked: of the range; 0: all
    std::uint64_t target = 0;
    std::uint64_t at_ms = 0;
};
inline constexpr std::size_t kMaxDeviceEvents = 64;
/// `left_out`: how many there were besides. At most kMaxDeviceEvents.
Result<void> send_device_events(const UniqueFd& socket, std::span<const DeviceEvent> events,
                                std::uint32_t left_out);

struct VmmReport {
    std::optional<Started> started;
    std::vector<DeviceEvent> device_events;
    std::uint32_t left_out = 0;
    std::optional<Ended> ended;
};
/// None: the VMM is gone without a word.
Result<std::optional<VmmReport>> receive_report(const UniqueFd& socket);

}  // namespace holdfast::vmm
