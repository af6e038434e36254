// SPDX-License-Identifier: Apache-2.0
#include "iommu/policy.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace holdfast::iommu {
namespace {

bool fits(const Rule& rule, const DeviceFacts& device) noexcept {
    if (rule.address.empty() && !rule.ids) return false;
    return (rule.address.empty() || rule.address == device.address) && (!rule.ids || *rule.ids == device.ids);
}

std::string names_of(const std::vector<GroupMember>& members) {
    std::string names;
    for (const GroupMember& member : members) {
        names += (names.empty() ? "" : ", ") + member.address + (member.is_bridge ? " (bridge)" : "");
    }
    return names;
}

std::string hex_text(Iova address) {
    std::array<char, 24> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), address.value(), 16).ptr;
    return "0x" + std::string{digits.data(), end};
}

/// The group is the unit in which an IOMMU contains. VFIO's "viable" is less: it is content with two devices
/// that have no driver.
void judge_group(const DeviceFacts& device, std::vector<Finding>& findings) {
    if (!device.group) {
        findings.push_back({Reason::NoIommu, ""});
        return;
    }
    const bool shared = std::ranges::any_of(device.members, [&](const GroupMember& member) {
        return !member.is_bridge && member.address != device.address;
    });
    if (shared) findings.push_back({Reason::SharedGroup, names_of(device.members)});
    if (device.group_type != "DMA" && device.group_type != "DMA-FQ") {
        findings.push_back({Reason::UntranslatedDomain, device.group_type});
    }
    for (const ReservedRegion& region : device.reserved) {
        // A relaxable one (graphics, USB keyboards at boot) is given up by the kernel when VFIO takes over.
        if (region.kind != "direct") continue;
        findings.push_back(
            {Reason::DirectRegion, hex_text(region.range.first) + "-" + hex_text(region.range.last)});
    }
}

}  // namespace

bool is_pci_address(std::string_view text) noexcept {
    constexpr std::string_view kForm = "hhhh:hh:hh.o";
    if (text.size() != kForm.size()) return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool octal = c >= '0' && c <= '7';
        const bool hex = octal || c == '8' || c == '9' || (c >= 'a' && c <= 'f');
        const bool good = kForm[i] == 'h' ? hex : kForm[i] == 'o' ? octal : c == kForm[i];
        if (!good) return false;
    }
    return true;
}

ReasonWords words_of(Reason reason) noexcept {
    switch (reason) {
        case Reason::NoRule:
            return {"no-rule", "no rule of the policy names this device",
                    "add a [[device]] to the policy if a guest may have it"};
        case Reason::NoIommu:
            return {
                "no-iommu", "no IOMMU is between this device and memory",
                "switch VT-d or AMD-Vi on in the firmware, and intel_iommu=on on the kernel's command line"};
        case Reason::SharedGroup:
            return {"shared-group", "its IOMMU group has other devices, which it may reach unchecked",
                    "put it into a slot with a root port of its own; pcie_acs_override is not an answer"};
        case Reason::UntranslatedDomain:
            return {"untranslated-domain", "the host lets its group past the IOMMU (iommu=pt)",
                    "boot without iommu=pt, or write DMA to the group's type file"};
        case Reason::DirectRegion:
            return {"direct-region", "firmware reserves memory that the device always reaches (RMRR)",
                    "look for a firmware setting that gives the region up; else use another device"};
        case Reason::NoReset:
            return {"no-reset", "it cannot be reset, so what its last owner left in it cannot be wiped",
                    "put it behind a root port of its own, for the bus to be reset; else use another device"};
        case Reason::NoInterruptRemapping:
            return {"no-interrupt-remapping", "the host does not remap interrupts: a device could send any",
                    "switch interrupt remapping on in the firmware; check dmesg for DMAR-IR or AMD-Vi"};
        case Reason::UnsafeInterrupts:
            return {"unsafe-interrupts", "vfio_iommu_type1 has allow_unsafe_interrupts=Y",
                    "take the option away and load the module again; there is no override here"};
        case Reason::CapabilitiesUnknown:
            return {"capabilities-unknown", "its capabilities cannot be read by this user",
                    "run this as root"};
        case Reason::Ats:
            return {"ats", "it can translate addresses itself (ATS), past every check",
                    "switch ATS off in the device's or the host's firmware; or say ats = true in its rule"};
        case Reason::Pri:
            return {"pri", "it can ask for pages itself (PRI)",
                    "say pri = true in its rule if that is wanted"};
    }
    return {"unknown", "", ""};
}

Verdict judge(const Policy& policy, const DeviceFacts& device) {
    Verdict verdict;
    const auto rule = std::ranges::find_if(policy.rules, [&](const Rule& r) { return fits(r, device); });
    if (rule == policy.rules.end()) verdict.findings.push_back({Reason::NoRule, ""});
    else verdict.rule = static_cast<std::size_t>(rule - policy.rules.begin());
    judge_group(device, verdict.findings);
    const auto against = [&](bool is, Reason reason) {
        if (is) verdict.findings.push_back({reason, ""});
    };
    against(device.reset_methods.empty(), Reason::NoReset);
    against(!device.interrupts_remapped, Reason::NoInterruptRemapping);
    against(device.unsafe_interrupts_allowed, Reason::UnsafeInterrupts);
    against(!device.capabilities_known, Reason::CapabilitiesUnknown);
    against(device.has_ats && (!verdict.rule || !rule->ats), Reason::Ats);
    against(device.has_pri && (!verdict.rule || !rule->pri), Reason::Pri);
    return verdict;
}

}  // namespace holdfast::iommu
