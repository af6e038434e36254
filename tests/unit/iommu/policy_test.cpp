// SPDX-License-Identifier: Apache-2.0
#include "iommu/policy.hpp"

#include <algorithm>

#include <gtest/gtest.h>

namespace holdfast::iommu {
namespace {

constexpr const char* kNic = "0000:01:00.0";

/// A device against which nothing speaks.
DeviceFacts good() {
    return {
        .address = kNic,
        .ids = {.vendor = 0x8086, .device = 0x10c9},
        .class_code = 0x020000,
        .driver = "vfio-pci",
        .group = 7,
        .group_type = "DMA-FQ",
        .members = {{.address = "0000:00:01.0", .is_bridge = true, .driver = "pcieport"}, {.address = kNic}},
        .reserved = {{.range = {Iova{0xfee00000}, Iova{0xfeefffff}}, .kind = "msi"}},
        .reset_methods = {"flr"},
        .capabilities_known = true,
        .interrupts_remapped = true};
}
const Policy kPolicy{{{.address = kNic}}};

std::vector<std::string> reasons(const DeviceFacts& device, const Policy& policy = kPolicy) {
    std::vector<std::string> names;
    for (const Finding& finding : judge(policy, device).findings)
        names.emplace_back(words_of(finding.reason).name);
    return names;
}
using Names = std::vector<std::string>;

TEST(DevicePolicy, DeviceThatARuleNamesAndTheHostContainsIsAllowed) {
    EXPECT_TRUE(judge(kPolicy, good()).allowed());
    EXPECT_EQ(judge(kPolicy, good()).rule, 0);
}

TEST(DevicePolicy, WhatNoRuleNamesIsRefused) {
    EXPECT_EQ(reasons(good(), {}), Names{"no-rule"});
    EXPECT_EQ(reasons(good(), {{{.address = "0000:02:00.0"}}}), Names{"no-rule"});
    EXPECT_EQ(reasons(good(), {{Rule{}}}), Names{"no-rule"});
}

TEST(DevicePolicy, AddressAndIdsOfARuleMustBothFit) {
    EXPECT_TRUE(reasons(good(), {{{.ids = PciIds{0x8086, 0x10c9}}}}).empty());
    EXPECT_EQ(reasons(good(), {{{.address = kNic, .ids = PciIds{0x8086, 0x10ca}}}}), Names{"no-rule"});
}

TEST(DevicePolicy, GroupWithAnotherDeviceIsRefusedAndAllOfItAreNamed) {
    DeviceFacts device = good();
    device.members.push_back({.address = "0000:01:00.1"});

    const Verdict verdict = judge(kPolicy, device);

    ASSERT_EQ(verdict.findings.size(), 1);
    EXPECT_EQ(verdict.findings[0].reason, Reason::SharedGroup);
    EXPECT_EQ(verdict.findings[0].detail, "0000:00:01.0 (bridge), 0000:01:00.0, 0000:01:00.1");
}

TEST(DevicePolicy, WhatTheHostCannotContainIsRefused) {
    DeviceFacts device = good();
    device.group.reset();
    EXPECT_EQ(reasons(device), Names{"no-iommu"});
    for (const char* const type : {"identity", "", "auto"}) {
        device = good();
        device.group_type = type;
        EXPECT_EQ(reasons(device), Names{"untranslated-domain"}) << type;
    }
    device = good();
    device.reset_methods.clear();
    EXPECT_EQ(reasons(device), Names{"no-reset"});
    device = good();
    device.interrupts_remapped = false;
    EXPECT_EQ(reasons(device), Names{"no-interrupt-remapping"});
    device = good();
    device.unsafe_interrupts_allowed = true;
    EXPECT_EQ(reasons(device), Names{"unsafe-interrupts"});
    device = good();
    device.capabilities_known = false;
    EXPECT_EQ(reasons(device), Names{"capabilities-unknown"});
}

TEST(DevicePolicy, DirectRegionIsRefusedAndARelaxableOneIsNot) {
    DeviceFacts device = good();
    device.reserved.push_back({.range = {Iova{0x1000}, Iova{0x1fff}}, .kind = "direct-relaxable"});
    EXPECT_TRUE(reasons(device).empty());
    device.reserved.push_back({.range = {Iova{0x7c000000}, Iova{0x7cffffff}}, .kind = "direct"});
    const Verdict verdict = judge(kPolicy, device);
    ASSERT_EQ(verdict.findings.size(), 1);
    EXPECT_EQ(verdict.findings[0].detail, "0x7c000000-0x7cffffff");
}

TEST(DevicePolicy, DeviceThatTranslatesItselfNeedsARuleThatSaysSo) {
    DeviceFacts device = good();
    device.has_ats = true;
    device.has_pri = true;

    EXPECT_EQ(reasons(device), (Names{"ats", "pri"}));
    EXPECT_TRUE(reasons(device, {{{.address = kNic, .ats = true, .pri = true}}}).empty());
}

TEST(DevicePolicy, AllThatSpeaksAgainstItIsSaid) {
    EXPECT_EQ(reasons({.address = kNic}, {}),
              (Names{"no-rule", "no-iommu", "no-reset", "no-interrupt-remapping", "capabilities-unknown"}));
}

TEST(DevicePolicy, OnlyAnAddressMayBecomeAPath) {
    EXPECT_TRUE(is_pci_address("0000:01:00.0"));
    EXPECT_TRUE(is_pci_address("00ff:ff:1f.7"));
    for (const char* const text : {"", "01:00.0", "0000:01:00.8", "0000:01:00.0/", "../../../etc",
                                   "0000:01:00.00", "0000:0G:00.0", "0000:0A:00.0", "0000/01/00.0"}) {
        EXPECT_FALSE(is_pci_address(text)) << text;
    }
}

}  // namespace
}  // namespace holdfast::iommu
