// SPDX-License-Identifier: Apache-2.0
// Against a tree of files that looks like /sys; the real one is read by tests/iommu/device_test.
#include "iommu/host/sysfs.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace holdfast::iommu::host {
namespace {

namespace fs = std::filesystem;

class SysfsTest : public testing::Test {
protected:
    SysfsTest() {
        std::string name = (fs::temp_directory_path() / "holdfast-sysfs-XXXXXX").string();
        root = ::mkdtemp(name.data());
        write("/proc/interrupts", " 24:  0  IR-PCI-MSI-0000:00:02.0  0-edge\n");
        add("0000:00:02.0", "0x060400", "");
        add("0000:01:00.0", "0x020000", "flr bus\n");
        write("/sys/kernel/iommu_groups/3/type", "DMA\n");
        write("/sys/kernel/iommu_groups/3/reserved_regions",
              "0x00000000fee00000 0x00000000feefffff msi\n0x7c000000 0x7cffffff direct\n");
        for (const char* const member : {"0000:00:02.0", "0000:01:00.0"}) {
            fs::create_directories(root + "/sys/kernel/iommu_groups/3/devices/" + member);
            fs::create_symlink("../../../../kernel/iommu_groups/3",
                               root + "/sys/bus/pci/devices/" + member + "/iommu_group");
        }
    }
    ~SysfsTest() override { fs::remove_all(root); }

    void write(const std::string& path, const std::string& text) const {
        fs::create_directories(fs::path{root + path}.parent_path());
        std::ofstream{root + path} << text;
    }
    void add(const std::string& address, const std::string& class_code, const std::string& resets) const {
        const std::string at = "/sys/bus/pci/devices/" + address + "/";
        write(at + "vendor", "0x8086\n");
        write(at + "device", "0x10c9\n");
        write(at + "class", class_code + "\n");
        if (!resets.empty()) write(at + "reset_method", resets);
        write(at + "config", std::string(256, '\0'));
    }
    std::string root;
};

TEST_F(SysfsTest, FactsAreWhatTheKernelSays) {
    const auto facts = *Sysfs{root}.facts("0000:01:00.0");

    EXPECT_EQ(facts.ids, (PciIds{0x8086, 0x10c9}));
    EXPECT_EQ(facts.class_code, 0x020000);
    EXPECT_EQ(facts.group, 3);
    EXPECT_EQ(facts.group_type, "DMA");
    ASSERT_EQ(facts.members.size(), 2);
    EXPECT_TRUE(facts.members[0].is_bridge);
    EXPECT_FALSE(facts.members[1].is_bridge);
    EXPECT_EQ(facts.reset_methods, (std::vector<std::string>{"flr", "bus"}));
    ASSERT_EQ(facts.reserved.size(), 2);
    EXPECT_EQ(facts.reserved[1].kind, "direct");
    EXPECT_EQ(facts.reserved[1].range, (IovaRange{Iova{0x7c000000}, Iova{0x7cffffff}}));
    EXPECT_TRUE(facts.interrupts_remapped);
    EXPECT_FALSE(facts.unsafe_interrupts_allowed);
    EXPECT_TRUE(facts.capabilities_known);
    EXPECT_FALSE(facts.has_ats);
}

TEST_F(SysfsTest, BridgesAreNoDevicesToHandOver) {
    EXPECT_EQ(Sysfs{root}.devices(), std::vector<std::string>{"0000:01:00.0"});
}

TEST_F(SysfsTest, ExtendedCapabilitiesAreFoundAndAChainThatLoopsEnds) {
    std::string config(4096, '\0');
    const auto put = [&](std::size_t at, std::uint32_t value) {
        for (std::size_t i = 0; i < 4; ++i) config[at + i] = static_cast<char>(value >> (8 * i));
    };
    put(0x100, 0x1401000b);  // vendor specific, next at 0x140
    put(0x140, 0x1801000f);  // ATS, next at 0x180
    put(0x180, 0x10010013);  // PRI, and back to the start
    write("/sys/bus/pci/devices/0000:01:00.0/config", config);

    const auto facts = *Sysfs{root}.facts("0000:01:00.0");

    EXPECT_TRUE(facts.has_ats);
    EXPECT_TRUE(facts.has_pri);
}

TEST_F(SysfsTest, WhatCannotBeReadIsUnknownAndNotAbsent) {
    write("/sys/bus/pci/devices/0000:01:00.0/config", std::string(64, '\0'));
    fs::remove(root + "/proc/interrupts");

    const auto facts = *Sysfs{root}.facts("0000:01:00.0");

    EXPECT_FALSE(facts.capabilities_known);
    EXPECT_FALSE(facts.interrupts_remapped);
}

TEST_F(SysfsTest, UnsafeInterruptsAreSeen) {
    write("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y\n");

    EXPECT_TRUE(Sysfs{root}.facts("0000:01:00.0")->unsafe_interrupts_allowed);
}

TEST_F(SysfsTest, OnlyDevicesThatAreThereAndNamedAsSuchAreLookedUp) {
    EXPECT_EQ(Sysfs{root}.facts("0000:09:00.0").error().os_errno, ENOENT);
    EXPECT_EQ(Sysfs{root}.facts("../../../../etc").error().fault, Fault::Input);
    EXPECT_EQ(Sysfs{root}.bind("../../../../etc").error().fault, Fault::Input);
}

TEST_F(SysfsTest, BindNeedsVfioPci) {
    EXPECT_EQ(Sysfs{root}.bind("0000:01:00.0").error().fault, Fault::Input);
}

}  // namespace
}  // namespace holdfast::iommu::host
