// SPDX-License-Identifier: Apache-2.0
#include "libvirt/host_devices.hpp"

#include <gtest/gtest.h>

namespace holdfast::libvirt {
namespace {

using Addresses = std::vector<std::string>;

Result<HostDevices> in_devices(const std::string& xml) {
    return host_devices_in("<domain type='kvm'><name>a</name><devices>" + xml + "</devices></domain>");
}

std::string hostdev(const std::string& address) {
    return "<hostdev mode='subsystem' type='pci' managed='yes'><driver name='vfio'/><source>" + address +
           "</source><alias name='hostdev0'/>"
           "<address type='pci' domain='0x0000' bus='0x09' slot='0x09' function='0x1'/></hostdev>";
}

TEST(LibvirtHostDevices, AreThoseThatASourceNames) {
    const auto found = in_devices(
        hostdev("<address domain='0x0000' bus='0x01' slot='0x1f' function='0x7'/>") +
        "<interface type='hostdev'><source><address type='pci' domain='0x00ab' bus='0xff' slot='0x00' "
        "function='0x0'/></source></interface>"
        "<disk type='nvme'><source type='pci' managed='yes' namespace='1'><address domain='0' bus='16' "
        "slot='0'/></source></disk>");
    ASSERT_TRUE(found) << found.error().what;
    EXPECT_EQ(found->pci, (Addresses{"0000:01:1f.7", "00ab:ff:00.0", "0000:10:00.0"}));
    EXPECT_EQ(found->mediated, Addresses{});
}

TEST(LibvirtHostDevices, MediatedOnesAreByUuid) {
    const auto found = in_devices(hostdev("<address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/>"));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->mediated, Addresses{"c2177883-f1bb-47f0-914d-32a22e3a8804"});
}

TEST(LibvirtHostDevices, UsbAndScsiAreNoneOfThem) {
    const auto found =
        in_devices(hostdev("<address bus='1' device='2'/>") +
                   hostdev("<adapter name='scsi_host0'/><address bus='0' target='0' unit='0'/>"));
    ASSERT_TRUE(found);
    EXPECT_EQ(found->pci, Addresses{});
    EXPECT_EQ(found->mediated, Addresses{});
}

// Metadata is anything that its author likes.
TEST(LibvirtHostDevices, NothingInMetadataHidesOne) {
    const std::string real = hostdev("<address domain='0' bus='1' slot='2' function='3'/>");
    for (const std::string decoy :
         {"<!-- ' <devices> -->", "<![CDATA[ <hostdev> ' ]]>", "<?a ' <b ?>", "<a b='>\"' c=\"'/>\"/>",
          "<domain><devices><x><source><address slot='5'/></source></x></devices></domain>",
          "&lt;a&gt; ' \""}) {
        const auto found = host_devices_in("<domain><metadata>" + decoy + "</metadata><devices>" + real +
                                           "</devices></domain>");
        ASSERT_TRUE(found) << decoy << ": " << found.error().what;
        EXPECT_EQ(found->pci, Addresses{"0000:01:02.3"}) << decoy;
    }
}

TEST(LibvirtHostDevices, WhatIsNoXmlIsRefused) {
    for (const std::string bad : {"<domain>", "<domain><devices></domain></devices>", "<domain><!-- ",
                                  "<domain a></domain>", "<a b='", "</a>", "<domain/ >", "< >", "<a b=c/>"}) {
        EXPECT_FALSE(host_devices_in(bad)) << bad;
    }
    EXPECT_FALSE(in_devices(hostdev("<address slot='0x20'/>")));
    EXPECT_FALSE(in_devices(hostdev("<address slot='1' bus='0x'/>")));
    EXPECT_FALSE(in_devices(hostdev("<address slot='1' function='8'/>")));
    std::string deep;
    for (int i = 0; i < 300; ++i) deep += "<a>";
    EXPECT_FALSE(host_devices_in(deep));
}

}  // namespace
}  // namespace holdfast::libvirt
