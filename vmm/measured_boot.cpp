// SPDX-License-Identifier: Apache-2.0
#include "vmm/measured_boot.hpp"

#include <algorithm>
#include <string>

#include "sys/mapping.hpp"
#include "vmm/boot/acpi.hpp"

namespace holdfast::vmm {
namespace {

using eventlog::EventType;

// The PCRs of the TCG's firmware profile (0-7) and of boot loaders (8, 9: as GRUB uses them).
namespace pcr {
constexpr std::uint32_t firmware = 0;
constexpr std::uint32_t configuration = 1;
constexpr std::uint32_t boot_code = 4;
constexpr std::uint32_t authority = 7;
constexpr std::uint32_t last_of_firmware = 7;
constexpr std::uint32_t command_line = 8;
constexpr std::uint32_t initrd = 9;
}  // namespace pcr

eventlog::Event measured_text(std::uint32_t pcr, EventType type, std::string_view text) {
    return make_event(pcr, type, eventlog::digests_of(std::as_bytes(std::span{text})), text);
}

/// Measured by what it is, and called by a name.
eventlog::Event measured_name(std::uint32_t pcr, std::string_view what, std::string_view name) {
    return make_event(pcr, EventType::IPL, eventlog::digests_of(std::as_bytes(std::span{what})), name);
}

struct MeasuredFile {
    UniqueFd copy;
    eventlog::Digests digests;
};

Result<MeasuredFile> measure_file(const UniqueFd& file) {
    const std::uint64_t size = HF_TRY(file_size(file));
    if (size == 0) return input_error("kernel or initrd is empty");
    MeasuredFile measured{.copy = HF_TRY(sealed_memfd("measured", size)), .digests = {}};
    const Mapping copy = HF_TRY(Mapping::shared(measured.copy, size));
    eventlog::BankHashes hashes;
    // In parts that stay in the cache from the copy to the last hash.
    constexpr std::size_t kPart = 256 << 10;
    for (std::uint64_t at = 0; at < size; at += kPart) {
        const auto part = copy.bytes().subspan(at, std::min<std::uint64_t>(kPart, size - at));
        HF_TRY(pread_exact(file, part, at));
        hashes.update(part);
    }
    measured.digests = hashes.finish();
    return measured;
}

}  // namespace

Result<MeasuredBoot> measure_boot(std::string_view cmdline, std::string_view shape,
                                  const std::optional<BundleClaim>& bundle, const UniqueFd& kernel,
                                  const UniqueFd& initrd) {
    using eventlog::make_event;
    MeasuredBoot boot;
    auto& events = boot.events;
    events.push_back(measured_text(pcr::firmware, EventType::S_CRTM_VERSION, "holdfast " HF_VERSION));
    events.push_back(make_event(pcr::firmware, EventType::POST_CODE,
                                eventlog::digests_of(std::as_bytes(boot::dsdt())), "DSDT"));
    events.push_back(measured_text(pcr::configuration, EventType::PLATFORM_CONFIG_FLAGS, shape));
    // The key is the same over all versions of a bundle, as the authorities of Secure Boot in this PCR are.
    if (bundle) events.push_back(measured_name(pcr::authority, bundle->signer, {"bundle signer\0", 14}));
    // Four zero bytes: no error. What comes behind is not the firmware's any more.
    constexpr std::string_view separator{"\0\0\0\0", 4};
    for (std::uint32_t pcr = 0; pcr <= pcr::last_of_firmware; ++pcr) {
        events.push_back(measured_text(pcr, EventType::SEPARATOR, separator));
    }
    if (bundle) events.push_back(measured_name(pcr::boot_code, bundle->manifest, {"bundle manifest\0", 16}));
    MeasuredFile file = HF_TRY(measure_file(kernel));
    boot.kernel = std::move(file.copy);
    // Strings of these events end with a zero, as GRUB's do.
    events.push_back(make_event(pcr::boot_code, EventType::IPL, file.digests, {"kernel\0", 7}));
    events.push_back(
        measured_name(pcr::command_line, cmdline, "kernel_cmdline: " + std::string{cmdline} + '\0'));
    if (!initrd) return boot;
    file = HF_TRY(measure_file(initrd));
    boot.initrd = std::move(file.copy);
    events.push_back(make_event(pcr::initrd, EventType::IPL, file.digests, {"initrd\0", 7}));
    return boot;
}

}  // namespace holdfast::vmm
