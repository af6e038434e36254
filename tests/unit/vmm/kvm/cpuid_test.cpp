// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/cpuid.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace holdfast::kvm {
namespace {

kvm_cpuid_entry2 leaf(std::uint32_t function, std::uint32_t index = 0) {
    kvm_cpuid_entry2 entry{};
    entry.function = function;
    entry.index = index;
    entry.eax = entry.ebx = entry.ecx = entry.edx = 0xffffffff;
    return entry;
}

kvm_cpuid_entry2 shaped(std::uint32_t function, std::uint32_t index, const CpuShape& shape) {
    std::vector entries{leaf(0), leaf(function, index)};
    shape_cpuid(entries, shape);
    return entries[1];
}

TEST(Cpuid, ApicIdAgreesInEveryLeafThatHasOne) {
    const CpuShape shape{.apic_id = 3, .cpus = 4};
    EXPECT_EQ(shaped(1, 0, shape).ebx >> 24, 3U);
    for (std::uint32_t index = 0; index < 4; ++index) {
        EXPECT_EQ(shaped(0xb, index, shape).edx, 3U);
        EXPECT_EQ(shaped(0x1f, index, shape).edx, 3U);
    }
    EXPECT_EQ(shaped(0x8000001e, 0, shape).eax, 3U);
}

TEST(Cpuid, TopologyIsOneSocketOfSingleThreadedCores) {
    const CpuShape shape{.apic_id = 0, .cpus = 6};
    EXPECT_EQ(shaped(0xb, 0, shape).ebx, 1U);
    EXPECT_EQ(shaped(0xb, 1, shape).ebx, 6U);
    EXPECT_EQ(shaped(0xb, 1, shape).eax, 3U);  // bits that tell six cores apart
    EXPECT_EQ(shaped(0xb, 2, shape).ecx >> 8, 0U);
    EXPECT_EQ(shaped(1, 0, shape).ebx >> 16 & 0xff, 6U);
    EXPECT_EQ(shaped(0x80000008, 0, shape).ecx & 0xff, 5U);
}

TEST(Cpuid, OneCpuHasNoCoreBitsAndNoHtt) {
    const CpuShape shape{.apic_id = 0, .cpus = 1};
    EXPECT_EQ(shaped(0xb, 1, shape).eax, 0U);
    EXPECT_EQ(shaped(1, 0, shape).edx >> 28 & 1, 0U);
}

TEST(Cpuid, WhatAGuestMustNotSeeIsCleared) {
    const CpuShape shape{.apic_id = 0, .cpus = 2};
    const auto one = shaped(1, 0, shape);
    EXPECT_EQ(one.ecx & (1U << 3 | 1U << 5 | 1U << 15), 0U);                            // MONITOR, VMX, PDCM
    EXPECT_NE(one.ecx & 1U << 31, 0U);                                                  // hypervisor
    EXPECT_EQ(shaped(7, 0, shape).ecx & 1U << 5, 0U);                                   // WAITPKG
    EXPECT_EQ(shaped(0xa, 0, shape).eax, 0U);                                           // PMU
    EXPECT_EQ(shaped(0x80000001, 0, shape).ecx & 1U << 2, 0U);                          // SVM
    EXPECT_EQ(shaped(0x40000001, 0, shape).eax & (1U << 4 | 1U << 10 | 1U << 14), 0U);  // async page faults
}

TEST(Cpuid, ArchCapabilitiesIsHiddenOnAmdOnly) {
    std::vector amd{leaf(0), leaf(7)};
    amd[0].ebx = 0x68747541;
    shape_cpuid(amd, {.cpus = 1});
    EXPECT_EQ(amd[1].edx & 1U << 29, 0U);
    EXPECT_NE(shaped(7, 0, {.cpus = 1}).edx & 1U << 29, 0U);
}

TEST(Cpuid, TscDeadlineAndFrequencyFollowWhatKvmSays) {
    EXPECT_NE(shaped(1, 0, {.cpus = 1, .tsc_deadline = true}).ecx & 1U << 24, 0U);
    EXPECT_EQ(shaped(0x40000010, 0, {.cpus = 1, .tsc_khz = 2600000}).eax, 2600000U);
}

}  // namespace
}  // namespace holdfast::kvm
