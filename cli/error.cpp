// SPDX-License-Identifier: Apache-2.0
#include "cli/error.hpp"

#include <array>
#include <cstring>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/output.hpp"

namespace holdfast::cli {
namespace {

constexpr std::array kCodes{
    CodeRow{Code::Internal, "unexpected failure",
            "The operating system refused something that only an exhausted host refuses."},
    CodeRow{Code::Usage, "wrong usage", "The command line has an unknown verb, flag or argument."},
    CodeRow{Code::Name, "bad name",
            "A VM's name is 1 to 40 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit."},
    CodeRow{Code::NotBuilt, "not built yet",
            "The flag belongs to a part of Holdfast that this version does not have."},
    CodeRow{Code::Value, "bad value", "The value of a flag or of a key in the configuration file."},
    CodeRow{Code::Config, "bad configuration file",
            "The file given to --config cannot be read, is not TOML, or has an unknown key."},
    CodeRow{Code::NothingToBoot, "nothing to boot", "Neither --kernel nor --builtin, or both."},
    CodeRow{Code::Tier, "memory encryption not available",
            "The tier asked for is not built or the host lacks it. Nothing weaker is used instead."},
    CodeRow{Code::Evidence, "evidence unusable",
            "A file that was given to holdfast verify cannot be read, or is not of its kind. Nothing was "
            "verified."},
    CodeRow{Code::Policy, "policy unusable",
            "The policy given to holdfast verify is not TOML, has an unknown key, or trusts nobody."},
    CodeRow{Code::Broker, "broker not started",
            "The broker's configuration, a secret, a key or the log cannot be used, or its address is taken. "
            "Nothing "
            "was released."},
    CodeRow{Code::Kernel, "kernel unusable", "The file given to --kernel cannot be opened."},
    CodeRow{Code::Initrd, "initrd unusable", "The file given to --initrd cannot be opened."},
    CodeRow{Code::Disk, "disk unusable",
            "A disk image cannot be opened or is not whole sectors of 512 bytes."},
    CodeRow{Code::DiskInUse, "disk in use",
            "Another VM holds a lock on the image; two writers would destroy its file system."},
    CodeRow{Code::Tap, "tap unusable", "The tap interface does not exist or may not be used."},
    CodeRow{Code::Passt, "passt unusable", "--net user needs the program passt."},
    CodeRow{Code::Vsock, "vsock socket unusable", "The Unix socket of --vsock cannot be made."},
    CodeRow{Code::Measure, "the launch cannot be measured",
            "holdfast measure met what holdfast run would refuse too: the kernel, the initrd or the shape."},
    CodeRow{Code::Firmware, "firmware unusable",
            "The image given to --ovmf cannot be read, or does not say what a SEV-SNP launch needs."},
    CodeRow{Code::Vtpm, "vTPM unusable",
            "The TPM of --vtpm does not answer as swtpm does, or has another client already."},
    CodeRow{
        Code::Bundle, "bundle unusable",
        "A file of the bundle is missing or is not the one that was signed, or no trusted key has signed it. "
        "Nothing of it was used."},
    CodeRow{Code::BundleOld, "bundle too old",
            "This host has launched a bundle of that name and key with a higher security version."},
    CodeRow{Code::BundleDecides, "not as the bundle was signed",
            "A flag says what the bundle decides, or the VM would be of another shape than was signed."},
    CodeRow{Code::Image, "image not made",
            "A file that was to go into the image cannot be read, or a module or name cannot be in it."},
    CodeRow{Code::KvmMissing, "no KVM", "/dev/kvm does not exist or does not answer as KVM does."},
    CodeRow{Code::KvmRights, "no rights on KVM", "This user may not open /dev/kvm."},
    CodeRow{Code::Programs, "programs missing",
            "holdfast-vmm or holdfast-io is not where this holdfast looks for it."},
    CodeRow{Code::Launch, "the VM could not be started",
            "holdfast-vmm refused the kernel, the shape or the host before the guest's first instruction."},
    CodeRow{Code::IoFailed, "the I/O process gave up", "holdfast-io says why in the second line."},
    CodeRow{Code::VmmDied, "holdfast-vmm ended unexpectedly",
            "The process that runs the VM is gone; the VM was stopped."},
    CodeRow{Code::IoDied, "holdfast-io ended unexpectedly",
            "The process that serves disks and network is gone; the VM was stopped."},
    CodeRow{
        Code::Userfaultfd, "userfaultfd cannot be used",
        "The tier software hears through /dev/userfaultfd of pages that the guest touches; it is missing, "
        "or this user may not open it. Nothing weaker is used in its place."},
    CodeRow{
        Code::Memlock, "not enough memory may be locked",
        "The tier software locks guest memory, so that no plaintext is swapped; this user's limit is below "
        "the VM's memory. Nothing weaker is used in its place."},
    CodeRow{Code::StateDirectory, "state directory unusable",
            "The directory for sockets and logs cannot be made, or is not this user's alone."},
    CodeRow{Code::NameInUse, "name in use", "A running VM has this name."},
    CodeRow{Code::NoSuchVm, "no such VM", "No VM of this name is known in the state directories."},
    CodeRow{Code::NotRunning, "not running", "The VM has ended already."},
    CodeRow{Code::Control, "the VM does not answer", "Its QMP socket refused, or gave no answer in time."},
    CodeRow{Code::Rights, "not allowed", "The VM belongs to another user."},
    CodeRow{Code::Stubborn, "the guest did not power off",
            "The guest ignored the power button until the deadline; the VM was then ended hard."},
    CodeRow{Code::Console, "console unusable",
            "The console has a client already, or this VM's console cannot be reached."},
    CodeRow{Code::Agent, "the agent does not answer",
            "No holdfast-agent answers in the guest, or what it answers means nothing."},
    CodeRow{
        Code::VtpmState, "vTPM state unusable",
        "The state file is damaged, cut, another vTPM's, or sealed with another key. It was left untouched, "
        "and no new TPM is made in its place."},
    CodeRow{Code::VtpmExists, "vTPM exists", "A vTPM of this name exists or is being made."},
    CodeRow{Code::NoSuchVtpm, "no such vTPM", "No vTPM of this name is in the state directory."},
    CodeRow{Code::VtpmInUse, "vTPM in use", "Another process serves this vTPM, or a VM runs with it."},
    CodeRow{Code::VtpmFailed, "the vTPM has ended",
            "holdfast-vtpm or holdfast-store ended or gave up. What it had answered is on disk."},
    CodeRow{Code::VtpmSocket, "vTPM socket unusable", "The Unix socket of `vtpm serve` cannot be made."},
    CodeRow{Code::VtpmKeys, "host keys unusable",
            "The key of this host's vTPM states, or its certificate authority, is missing or not private."},
    CodeRow{Code::AnchorRefused, "the anchor does not serve",
            "What it found is not provably the newest state; the name in the first line is that of "
            "docs/anchor.md."},
    CodeRow{Code::AnchorTpm, "no TPM", "The host's TPM, or the software TPM of --tcti, cannot be opened."},
    CodeRow{Code::AnchorExists, "an anchor exists", "The state directory holds an anchor's key file."},
    CodeRow{Code::AnchorBusy, "an anchor runs", "Another holdfast anchor serve uses the same files."},
    CodeRow{Code::AnchorStopped, "no anchor runs", "Nobody answers on the anchor's socket."},
    CodeRow{Code::AnchorDenied, "the anchor declined", "It serves, and does not do this now."},
    CodeRow{
        Code::DevicePolicy, "device policy unusable",
        "The file of --policy cannot be read, is not TOML, or has an unknown key. No device is handed over."},
    CodeRow{Code::NoSuchDevice, "no such device", "The host has no PCI device of this address."},
    CodeRow{Code::DeviceRefused, "the device may not be handed over",
            "The policy does not name it, or the host cannot contain it; holdfast device explain says all "
            "reasons."},
    CodeRow{Code::DeviceDriver, "the device did not change its driver",
            "The kernel refused to take it from one driver, or to give it to the other."},
    CodeRow{Code::AuditLog, "audit log unusable",
            "It cannot be written, is full, or was changed; without it no device is bound, and no VM with "
            "one goes on."},
    CodeRow{Code::DeviceOpen, "the device cannot be opened",
            "VFIO refused: another VM has it, its group is not wholly with vfio-pci, or this user may not."},
    CodeRow{Code::Adapter, "the domain is not started",
            "holdfast-qemu found something in libvirt's command line that Holdfast does not have, or the VM "
            "could "
            "not be started; the lines before it say which."},
};

}  // namespace

std::span<const CodeRow> code_table() noexcept { return kCodes; }

int Failure::exit_status() const noexcept {
    const auto number = static_cast<unsigned>(code_);
    return number / 100 == 1 && code_ != Code::Tier ? kExitUsage : kExitFailure;
}

void Failure::print() const {
    const Paint paint{STDERR_FILENO};
    print_error("{}holdfast: HF-{:04}: {}{}\n  why: {}\n  fix: {}\n", paint.red(),
                static_cast<unsigned>(code_), what_, paint.off(), why_, fix_);
}

std::string reason_of_errno(int os_errno) {
    const auto name = errno_name(os_errno);
    // strerror's static buffer is fine: this program has one thread.
    return name.empty() ? fmt::format("error {}", os_errno)
                        : fmt::format("{} ({})", ::strerror(os_errno), name);
}

std::string reason_of(const Error& error) {
    if (error.os_errno == 0) return error.what;
    return fmt::format("{}: {}", error.what, reason_of_errno(error.os_errno));
}

}  // namespace holdfast::cli
