// SPDX-License-Identifier: Apache-2.0
// Where the three VMMs differ is not written down by them: it is what the public vectors of
// virtee/sev-snp-measure hold, which tests/cli/measure_snp_test.py checks. EC2 with more than one vCPU has
// none.
#include "memcrypt/snp/measure.hpp"

#include <algorithm>

#include "memcrypt/launch_digest.hpp"
#include "memcrypt/snp/vmsa.hpp"

namespace holdfast::memcrypt::snp {
namespace {

constexpr std::uint32_t kResetEip = 0xfffffff0;

wire::Vmsa vcpu_state(const Launch& launch, std::uint32_t eip) {
    constexpr std::uint64_t kEferSvme = 1ULL << 12;
    constexpr std::uint64_t kCr4Mce = 1ULL << 6;
    constexpr std::uint64_t kCr0Et = 1ULL << 4;
    constexpr std::uint64_t kKvmSignature = 0x600;  // KVM's RDX for a vCPU that has no CPUID yet
    wire::Vmsa state = reset_state();
    state.efer = kEferSvme;
    state.cr4 = kCr4Mce;
    state.cr0 = kCr0Et;
    state.cs.base = eip & 0xffff0000;
    state.rip = eip & 0xffff;
    state.rdx = launch.vmm == Vmm::Qemu ? launch.cpu_signature : kKvmSignature;
    state.sev_features = launch.guest_features;
    switch (launch.vmm) {
        case Vmm::Qemu: break;
        case Vmm::Ec2:
            if (eip == kResetEip) state.cs.attributes = 0x9a;
            state.ss.attributes = 0x92;
            state.tr.attributes = 0x83;
            state.mxcsr = 0;
            state.x87_fcw = 0;
            break;
        case Vmm::Gce:
            state.g_pat = 0x00070106;
            state.mxcsr = 0;
            state.x87_fcw = 0;
            break;
    }
    return state;
}

void add_pages(LaunchDigest& digest, PageType type, const Section& section) {
    for (std::uint64_t offset = 0; offset < section.size; offset += kPageSize) {
        digest.add_unmeasured(type, GuestAddr{section.start.value() + offset});
    }
}

Result<void> add_kernel_hashes(LaunchDigest& digest, const Section& section, const Firmware& firmware,
                               const Launch& launch) {
    if (!launch.kernel) {
        add_pages(digest, PageType::Zero, section);
        return {};
    }
    if (firmware.hash_table / kPageSize != section.start.value() / kPageSize)
        return input_error("firmware's table of kernel hashes lies outside its section");
    const auto page = HF_TRY(kernel_hashes_page(*launch.kernel, firmware.hash_table % kPageSize));
    digest.add(PageType::Normal, section.start, page);
    return {};
}

Result<void> add_section(LaunchDigest& digest, const Section& section, const Firmware& firmware,
                         const Launch& launch) {
    switch (section.type) {
        case SectionType::SecMem:
            add_pages(digest, launch.vmm == Vmm::Gce ? PageType::Unmeasured : PageType::Zero, section);
            break;
        case SectionType::SvsmCaa: add_pages(digest, PageType::Zero, section); break;
        case SectionType::Secrets: add_pages(digest, PageType::Secrets, section); break;
        case SectionType::Cpuid:
            if (launch.vmm != Vmm::Ec2) add_pages(digest, PageType::Cpuid, section);
            break;
        case SectionType::KernelHashes: return add_kernel_hashes(digest, section, firmware, launch);
    }
    return {};
}

Result<void> add_metadata(LaunchDigest& digest, const Firmware& firmware, const Launch& launch) {
    const bool has_place = std::ranges::find(firmware.sections, SectionType::KernelHashes, &Section::type) !=
                           firmware.sections.end();
    // Such a firmware boots any kernel, so a digest that seems to bind one would be a lie.
    if (launch.kernel && !has_place)
        return input_error("firmware has no place for kernel hashes: it cannot bind a kernel to the launch");
    for (const Section& section : firmware.sections) {
        HF_TRY(add_section(digest, section, firmware, launch));
    }
    if (launch.vmm != Vmm::Ec2) return {};
    for (const Section& section : firmware.sections) {
        if (section.type == SectionType::Cpuid) add_pages(digest, PageType::Cpuid, section);
    }
    return {};
}

}  // namespace

Result<Digest384> launch_digest(std::span<const std::byte> image, const Firmware& firmware,
                                const Launch& launch) {
    if (launch.vcpus > 1 && firmware.ap_entry == 0)
        return input_error("firmware has no entry point for a second vCPU");
    LaunchDigest digest{launch.firmware_digest.value_or(Digest384{})};
    if (!launch.firmware_digest) {
        for (std::uint64_t offset = 0; offset < image.size(); offset += kPageSize) {
            digest.add(PageType::Normal, GuestAddr{firmware.load.value() + offset},
                       image.subspan(offset).first<kPageSize>());
        }
    }
    HF_TRY(add_metadata(digest, firmware, launch));
    for (std::uint32_t vcpu = 0; vcpu < launch.vcpus; ++vcpu) {
        const wire::Vmsa state = vcpu_state(launch, vcpu == 0 ? kResetEip : firmware.ap_entry);
        digest.add(PageType::Vmsa, kVmsaAddress, std::as_bytes(std::span{&state, 1}).first<kPageSize>());
    }
    return digest.value();
}

}  // namespace holdfast::memcrypt::snp
