// SPDX-License-Identifier: Apache-2.0
#include "vmm/kvm/vcpu.hpp"

#include "tests/kvm/guest.hpp"

namespace holdfast::test {
namespace {

using VcpuTest = TinyGuest;

TEST_F(VcpuTest, PortWriteExitsWithPortAndByte) {
    auto vcpu = vcpu_with({0xb0, 0x41,          // mov al, 'A'
                           0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
    const auto exit = vcpu.run();
    ASSERT_EQ(exit.kind, kvm::ExitKind::PortWrite);
    EXPECT_EQ(exit.address, 0x80U);
    EXPECT_EQ(exit.width, 1);
    ASSERT_EQ(exit.data.size(), 1U);
    EXPECT_EQ(exit.data[0], std::byte{0x41});
}

TEST_F(VcpuTest, PortReadGivesTheGuestWhatWasFilledIn) {
    auto vcpu = vcpu_with({0xe4, 0x81,          // in al, 0x81
                           0xe6, 0x80, 0xf4});  // out 0x80, al; hlt
    const auto read = vcpu.run();
    ASSERT_EQ(read.kind, kvm::ExitKind::PortRead);
    read.data[0] = std::byte{0x5a};
    const auto write = vcpu.run();
    ASSERT_EQ(write.kind, kvm::ExitKind::PortWrite);
    EXPECT_EQ(write.data[0], std::byte{0x5a});
}

TEST_F(VcpuTest, EntryArgumentIsInEbx) {
    auto vcpu = vcpu_with({0x89, 0xd8,                // mov eax, ebx
                           0x66, 0xe7, 0x80, 0xf4});  // out 0x80, ax; hlt
    const auto exit = vcpu.run();
    ASSERT_EQ(exit.kind, kvm::ExitKind::PortWrite);
    ASSERT_EQ(exit.data.size(), 2U);
    EXPECT_EQ(exit.data[0], std::byte{0x34});
    EXPECT_EQ(exit.data[1], std::byte{0x12});
}

TEST_F(VcpuTest, AccessOutsideRamIsAnMmioExit) {
    auto vcpu = vcpu_with(
        {0xc7, 0x05, 0x00, 0x00, 0x00, 0xd0, 0x78, 0x56, 0x34, 0x12, 0xf4});  // mov [0xd0000000], 0x12345678
    const auto exit = vcpu.run();
    ASSERT_EQ(exit.kind, kvm::ExitKind::MmioWrite);
    EXPECT_EQ(exit.address, 0xd0000000U);
    EXPECT_EQ(exit.data.size(), 4U);
}

TEST_F(VcpuTest, StopThatComesBeforeRunMakesItReturnAtOnce) {
    auto vcpu = vcpu_with({0xeb, 0xfe});  // jmp to itself
    vcpu.stop_soon();
    EXPECT_EQ(vcpu.run().kind, kvm::ExitKind::Interrupted);
}

TEST_F(VcpuTest, TripleFaultIsAShutdown) {
    auto vcpu = vcpu_with({0x0f, 0x0b});  // ud2, with no IDT to handle it
    EXPECT_EQ(vcpu.run().kind, kvm::ExitKind::Shutdown);
}

}  // namespace
}  // namespace holdfast::test
