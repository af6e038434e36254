// SPDX-License-Identifier: Apache-2.0
// Findings about the host's roots of trust and its IOMMU.
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "cli/error.hpp"
#include "cli/finding.hpp"
#include "sys/fd.hpp"

namespace holdfast::cli {
namespace {

constexpr const char* kTrust = "Roots of trust";
constexpr const char* kDevices = "Device passthrough (not built in this version)";

void look_at_tpm(Findings& out) {
    Finding finding{.group = kTrust, .id = "tpm", .title = "TPM 2.0", .health = Health::Missing};
    const UniqueFd tpm{::open("/dev/tpmrm0", O_RDWR | O_CLOEXEC)};
    const int error = errno;
    const auto version = first_line("/sys/class/tpm/tpm0/tpm_version_major");
    if (tpm) {
        finding.health = Health::Ok;
        finding.detail = "/dev/tpmrm0 opens";
    } else if (error == EACCES || error == EPERM) {
        finding.health = Health::Warn;
        finding.detail = "there is one, but this user may not use it";
        finding.fix = "sudo usermod -aG tss $USER, then log in again";
    } else if (version && *version != "2") {
        finding.detail = "there is a TPM, but it is not version 2.0";
    } else {
        finding.detail = fmt::format("/dev/tpmrm0: {}", reason_of_errno(error));
        finding.fix = "switch the TPM on in the firmware";
    }
    out.push_back(std::move(finding));
}

void look_at_ima(Findings& out) {
    Finding finding{.group = kTrust, .id = "ima", .title = "IMA", .health = Health::Warn};
    const std::string directory = "/sys/kernel/security/ima";
    const auto count = first_line(directory + "/runtime_measurements_count");
    // One measurement is the boot aggregate, which every kernel with IMA makes.
    if (count && *count != "0" && *count != "1") {
        finding.health = Health::Ok;
        finding.detail = fmt::format("measures; {} measurements so far", *count);
    } else if (count) {
        finding.detail = "on, but no policy measures programs";
        finding.fix = "boot with ima_policy=tcb: evidence can then name the host programs that ran";
    } else if (std::error_code error; std::filesystem::exists(directory, error) || error) {
        finding.detail = "cannot tell: its count is readable by root only";
        finding.fix = "run doctor as root";
    } else {
        finding.health = Health::Missing;
        finding.detail = "not in this kernel, or securityfs is not mounted";
        finding.fix = "use a kernel with CONFIG_IMA, boot with ima_policy=tcb, mount securityfs";
    }
    out.push_back(std::move(finding));
}

bool interrupts_are_remapped() {
    // Interrupt chips that remap have names with IR- in front, on Intel and on AMD.
    std::ifstream file{"/proc/interrupts"};
    for (std::string line; std::getline(file, line);) {
        if (line.find(" IR-") != std::string::npos) return true;
    }
    return false;
}

void look_at_iommu(Findings& out) {
    std::error_code ignored;
    std::size_t groups = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator{"/sys/kernel/iommu_groups", ignored}) {
        ++groups;
    }
    out.push_back(
        {.group = kDevices,
         .id = "iommu",
         .title = "IOMMU",
         .health = groups != 0 ? Health::Ok : Health::Missing,
         .detail = fmt::format("{} groups", groups),
         .fix = groups != 0 ? "" : "switch VT-d or AMD-Vi on in the firmware; boot with intel_iommu=on"});
    const bool remapped = interrupts_are_remapped();
    out.push_back(
        {.group = kDevices,
         .id = "interrupt-remapping",
         .title = "interrupt remapping",
         .health = remapped ? Health::Ok : Health::Missing,
         .detail = remapped ? "on" : "no interrupt of this host is remapped",
         .fix = remapped ? "" : "switch it on with the IOMMU in the firmware; do not boot with nointremap"});
}

}  // namespace

void look_at_hardware(Findings& out) {
    look_at_tpm(out);
    look_at_ima(out);
    look_at_iommu(out);
}

}  // namespace holdfast::cli
