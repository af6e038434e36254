// SPDX-License-Identifier: Apache-2.0
// Findings about KVM and memory encryption. By trying: a name in /proc says what a CPU could do, not
// what this KVM does.
#include <cpuid.h>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/finding.hpp"
#include "memcrypt/guest_memory.hpp"
#include "memcrypt/software/pager.hpp"
#include "sys/fd.hpp"
#include "vmm/kvm/probe.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kVms = "Virtual machines";
constexpr const char* kMemory = "Memory encryption";

struct CpuidLeaf {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};
CpuidLeaf cpuid(unsigned leaf) {
    CpuidLeaf out;
    __get_cpuid_count(leaf, 0, &out.eax, &out.ebx, &out.ecx, &out.edx);
    return out;
}
bool is_itself_a_guest() { return (cpuid(1).ecx >> 31 & 1) != 0; }

// From the file: a static program has no name service.
std::string group_name(gid_t id) {
    std::ifstream groups{"/etc/group"};
    for (std::string line; std::getline(groups, line);) {  // name:password:id:members
        const std::size_t name = line.find(':');
        const std::size_t number = line.find(':', name + 1);
        if (name == std::string::npos || number == std::string::npos) continue;
        if (line.compare(number + 1, line.find(':', number + 1) - number - 1, fmt::to_string(id)) == 0) {
            return line.substr(0, name);
        }
    }
    return fmt::to_string(id);
}

// Which users besides root may launch VMs, said by the device's mode.
std::string who_may_use_kvm() {
    struct stat status{};
    if (::stat("/dev/kvm", &status) < 0) return "";
    if ((status.st_mode & 0006) == 0006) return "every user may use it";
    if ((status.st_mode & 0060) == 0060 && status.st_gid != 0) {
        return fmt::format("root and the group {} may use it", group_name(status.st_gid));
    }
    return "only root may use it";
}

UniqueFd look_at_device(Findings& out) {
    UniqueFd kvm{::open("/dev/kvm", O_RDWR | O_CLOEXEC)};
    const int error = errno;
    Finding finding{.group = kVms, .id = "kvm", .title = "/dev/kvm", .required = true};
    if (kvm) {
        const std::string who = who_may_use_kvm();
        finding.detail = "opens; " + who;
        if (who.starts_with("only")) {
            finding.health = Health::Warn;
            finding.fix = "for ordinary users: meson install puts a udev rule for the group kvm in place";
        }
    } else {
        finding.health = Health::Missing;
        finding.detail = reason_of_errno(error);
        finding.fix = error == EACCES
                          ? "sudo usermod -aG kvm $USER, then log in again"
                          : "load kvm_intel or kvm_amd; switch virtualization on in the firmware, or "
                            "nested virtualization on in the hypervisor below";
    }
    out.push_back(std::move(finding));
    return kvm;
}

void look_at_guests(Findings& out, const UniqueFd& kvm) {
    Finding builtin{.group = kVms, .id = "builtin-guest", .title = "built-in guest", .required = true};
    Finding linux_guests{.group = kVms, .id = "linux-guests", .title = "Linux guests"};
    const auto probe = kvm ? kvm::probe(kvm) : Result<kvm::Probe>{input_error("there is no KVM to try")};
    if (!probe || probe->loops_per_second == 0) {
        builtin.health = linux_guests.health = Health::Missing;
        builtin.detail = linux_guests.detail =
            probe ? "the probe guest could not run its first instructions" : reason_of(probe.error());
        builtin.fix = linux_guests.fix =
            kvm ? "use a newer kernel, or a host whose KVM is complete" : "see /dev/kvm";
    } else {
        const double million = static_cast<double>(probe->loops_per_second) / 1e6;
        builtin.detail = "a probe guest ran";
        linux_guests.detail = fmt::format("guest kernel mode {} ({:.1f} million loops/s), CMPXCHG16B {}",
                                          probe->is_native() ? "runs natively" : "is emulated", million,
                                          probe->cmpxchg16b ? "works" : "is missing");
        if (!probe->runs_kernels()) {
            linux_guests.health = Health::Missing;
            linux_guests.fix =
                "use a host with hardware virtualization (VMX or SVM), or nested virtualization";
        }
    }
    out.push_back(std::move(builtin));
    out.push_back(std::move(linux_guests));
}

// How the tier software hears of pages that the guest touches.
std::string userfaultfd_words() {
    const UniqueFd device{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)};
    UniqueFd fault{device ? ::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC)
                          : static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC))};
    if (!fault) return fmt::format("cannot be used: {}", reason_of_errno(errno));
    uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_MINOR_SHMEM, .ioctls = 0};
    if (::ioctl(fault.get(), UFFDIO_API, &api) < 0) return "lacks minor faults on shared memory";
    return device ? "works, through /dev/userfaultfd"
                  : "works, by right of this user alone (no /dev/userfaultfd)";
}

void look_at_userfaultfd(Findings& out) {
    Finding finding{
        .group = kMemory, .id = "userfaultfd", .title = "userfaultfd", .detail = userfaultfd_words()};
    if (!finding.detail.starts_with("works, through")) {
        finding.health = Health::Warn;
        finding.fix = "give users /dev/userfaultfd by the installed udev rule; the tier software needs it";
    }
    out.push_back(std::move(finding));
}

/// Seals a page of a small guest memory and brings it back, as a VM would.
Result<void> try_software_tier() {
    const UniqueFd device{::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC)};
    if (!device) return os_error("open /dev/userfaultfd");
    constexpr std::array<memcrypt::GuestMemory::Range, 1> kRange{{{GuestAddr{0}, 256 * kPageSize}}};
    const auto memory = HF_TRY(memcrypt::GuestMemory::create_software(
        kRange, device, {}, {}, {.window_bytes = memcrypt::software::Window::kMinPages * kPageSize}));
    constexpr std::uint64_t kWord = 0x6b656c70;
    HF_TRY(memory.write_value(GuestAddr{kPageSize}, kWord));
    HF_TRY(memory.seal_all());
    if (HF_TRY(memory.read_value<std::uint64_t>(GuestAddr{kPageSize})) != kWord) {
        return input_error("it came back different");
    }
    return {};
}

void look_at_tiers(Findings& out, const UniqueFd& kvm) {
    out.push_back(
        {.group = kMemory,
         .id = "tier-none",
         .title = "tier none",
         .detail = std::string{"available: "} + std::string{memcrypt::tier_limit(memcrypt::Tier::None)}});
    look_at_userfaultfd(out);
    Finding software{.group = kMemory, .id = "tier-software", .title = "tier software"};
    if (const auto tried = try_software_tier()) {
        software.detail = fmt::format("available, tried: {}", memcrypt::tier_limit(memcrypt::Tier::Software));
    } else {
        software.health = Health::Missing;
        software.detail =
            fmt::format("a page could not be sealed and brought back: {}", reason_of(tried.error()));
        software.fix = "see userfaultfd and locked memory; VMs are not launched with anything weaker instead";
    }
    out.push_back(std::move(software));
    const auto types = kvm ? kvm::vm_types(kvm) : kvm::VmTypes{};
    const auto words = [](bool offered) {
        return fmt::format("not built in this version; this KVM {} it",
                           offered ? "offers" : "does not offer");
    };
    out.push_back({.group = kMemory,
                   .id = "tier-sev-snp",
                   .title = "tier sev-snp",
                   .health = Health::Missing,
                   .detail = words(types.sev_snp)});
    out.push_back({.group = kMemory,
                   .id = "tier-tdx",
                   .title = "tier tdx",
                   .health = Health::Missing,
                   .detail = words(types.tdx)});
}

std::optional<std::uint64_t> read_msr(std::uint32_t number) {
    const UniqueFd fd{::open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC)};
    std::uint64_t value = 0;
    if (!fd || ::pread(fd.get(), &value, sizeof value, number) != sizeof value) return std::nullopt;
    return value;
}

// The kernel's ccp driver asks the security processor, and shows it as tsme_status since Linux 6.8.
std::optional<bool> tsme_by_ccp() {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator{"/sys/bus/pci/drivers/ccp", ignored}) {
        if (const auto line = first_line(entry.path() / "tsme_status")) return *line == "1";
    }
    return std::nullopt;
}

// All of DRAM encrypted by the memory controller: against cold boot, not against software on the host.
void look_at_whole_memory(Findings& out) {
    constexpr std::uint32_t kTmeActivate = 0x982;  // IA32_TME_ACTIVATE, Intel SDM vol. 4: 0 locked, 1 enabled
    constexpr const char* kFix = "switch memory encryption (AMD TSME, Intel TME) on in the firmware";
    Finding finding{.group = kMemory, .id = "host-memory", .title = "host TSME/TME", .health = Health::Warn};
    const bool tme = (cpuid(7).ecx >> 13 & 1) != 0;
    const bool sme = (cpuid(0x8000001f).eax & 1) != 0;
    if (const auto tsme = tsme_by_ccp()) {
        finding.health = *tsme ? Health::Ok : Health::Warn;
        finding.detail =
            *tsme ? "on (TSME, says the security processor)" : "off (TSME, says the security processor)";
        if (!*tsme) finding.fix = kFix;
    } else if (is_itself_a_guest()) {
        finding.detail = "cannot tell: this host is itself a virtual machine, and the host below decides";
    } else if (tme) {
        const auto msr = read_msr(kTmeActivate);
        finding.detail = !msr ? "cannot tell: the CPU has TME, and IA32_TME_ACTIVATE is unreadable"
                         : (*msr & 3) == 3 ? "on (TME)"
                                           : "off (TME)";
        if (msr && (*msr & 3) == 3) finding.health = Health::Ok;
        else finding.fix = msr ? kFix : "run doctor as root with the module msr loaded";
    } else if (sme) {
        finding.detail =
            "cannot tell: the CPU has SME; whether TSME is on only the firmware and the ccp driver know";
        finding.fix = "load the module ccp (Linux 6.8 or newer), or look in the firmware's settings";
    } else {
        finding.health = Health::Missing;
        finding.detail = "this CPU has neither SME nor TME";
    }
    out.push_back(std::move(finding));
}

}  // namespace

void look_at_kvm(Findings& out) {
    const UniqueFd kvm = look_at_device(out);
    look_at_guests(out, kvm);
    look_at_tiers(out, kvm);
    look_at_whole_memory(out);
}

}  // namespace holdfast::cli
