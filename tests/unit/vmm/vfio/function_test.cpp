// SPDX-License-Identifier: Apache-2.0
#include "vmm/vfio/function.hpp"

#include <gtest/gtest.h>

#include "tests/unit/vmm/pci/fake_interrupts.hpp"
#include "tests/unit/vmm/vfio/fake_device.hpp"
#include "vmm/pci/root_complex.hpp"

namespace holdfast::vfio {
namespace {

using pci::kEcamStart;

class FunctionTest : public testing::Test {
protected:
    static constexpr std::uint64_t kSlot = kEcamStart + (3U << 15);

    void plug() {
        auto device = iommu::host::Device::create(fake.descriptor(), fake);
        ASSERT_TRUE(device.has_value());
        auto made =
            Function::create(std::move(*device), "0000:01:00.0", {.interrupts = interrupts, .slots = slots},
                             std::move(line), [this](const Error&) { ++failures; });
        ASSERT_TRUE(made.has_value()) << made.error().what;
        function = std::move(*made);
        ASSERT_TRUE(memory.add(kEcamStart, pci::kEcamSize, root.ecam()).has_value());
        ASSERT_TRUE(root.add(3, *function).has_value());
    }
    template <typename T>
    T read(std::uint64_t address) {
        T value{};
        memory.read(address, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    template <typename T>
    void write(std::uint64_t address, T value) {
        memory.write(address, std::as_bytes(std::span{&value, 1}));
    }
    std::uint64_t bar(unsigned index) { return read<std::uint32_t>(kSlot + 0x10 + 4 * index) & ~0xfU; }
    /// Where the guest finds the MSI-X capability.
    std::uint64_t msix() { return kSlot + read<std::uint8_t>(kSlot + 0x34); }

    FakeDevice fake;
    irq::FakeMsi interrupts;
    bus::FakeSlots slots;
    std::optional<irq::LevelLine> line;
    bus::Bus memory;
    pci::RootComplex root{memory, {}};
    std::unique_ptr<Function> function;
    int failures = 0;
};

TEST_F(FunctionTest, OfConfigurationSpaceOnlyWhatNamesTheDeviceIsPassed) {
    fake.put<std::uint32_t>(FakeDevice::kConfig + 0x30, 0xfff00001);  // ROM
    fake.put<std::uint16_t>(FakeDevice::kConfig + 0x3d, 1);           // INTA
    fake.has_line = true;
    plug();
    EXPECT_EQ(read<std::uint32_t>(kSlot), 0x00101b36U);
    EXPECT_EQ(read<std::uint32_t>(kSlot + 8), 0x01080202U);
    EXPECT_EQ(read<std::uint32_t>(kSlot + 0x2c), 0x11001af4U);
    EXPECT_EQ(read<std::uint32_t>(kSlot + 0x30), 0U);
    EXPECT_EQ(read<std::uint8_t>(kSlot + 0x3d), 0U);
    EXPECT_TRUE(fake.line.empty());
    EXPECT_EQ(read<std::uint8_t>(msix()), 0x11U);  // and no other capability
    EXPECT_EQ(read<std::uint8_t>(msix() + 1), 0U);
    for (std::uint64_t offset = 0; offset < 256; offset += 4) write<std::uint32_t>(kSlot + offset, ~0U);
    EXPECT_EQ(fake.at<std::uint32_t>(FakeDevice::kConfig + 0x10), 0xfe000004U);
    EXPECT_EQ(fake.at<std::uint16_t>(FakeDevice::kConfig + 0x04) & 0xfffc, 0x0100);
}

TEST_F(FunctionTest, RegistersAreTheDevicesAndItsInterruptTableAnswersNowhere) {
    fake.put<std::uint32_t>(FakeDevice::kBar0 + 0x14, 0x12345678);
    fake.put<std::uint32_t>(FakeDevice::kBar0 + FakeDevice::kTable, 0xfee00000);
    plug();
    EXPECT_EQ(read<std::uint32_t>(bar(0) + 0x14), 0x12345678U);
    write<std::uint64_t>(bar(0) + 0x28, 0x1122334455667788U);
    EXPECT_EQ(fake.at<std::uint64_t>(FakeDevice::kBar0 + 0x28), 0x1122334455667788U);
    for (const std::uint64_t at :
         {FakeDevice::kTable, FakeDevice::kTable + 3 * 16 - 4, FakeDevice::kPending}) {
        EXPECT_EQ(read<std::uint32_t>(bar(0) + at), ~0U);
        const auto before = fake.at<std::uint32_t>(FakeDevice::kBar0 + at);
        write<std::uint32_t>(bar(0) + at, 0xbad);
        write<std::uint64_t>(bar(0) + (at & ~7ULL), 0xbad);
        EXPECT_EQ(fake.at<std::uint32_t>(FakeDevice::kBar0 + at), before);
    }
    EXPECT_EQ(read<std::uint32_t>(bar(0) + FakeDevice::kTable + 3 * 16), 0U);
}

// threat_model.md, D-9: the page of the interrupt table, and that of the pending bits, stay trapped.
TEST_F(FunctionTest, PagesOfABarWithoutTheInterruptTableAreTheGuestsAndMoveWithIt) {
    fake.put<std::uint32_t>(FakeDevice::kBar0 + 0x1ffc, 0x12345678);
    fake.mappable = true;
    plug();
    const std::uint64_t before = bar(0);
    ASSERT_EQ(slots.slots.size(), 1U);
    const auto pages = slots.slots.at(before);
    ASSERT_EQ(pages.size(), FakeDevice::kTable);
    EXPECT_EQ(pages[0x1fff], std::byte{0x12});
    pages[0] = std::byte{0x5a};
    EXPECT_EQ(fake.at<std::uint8_t>(FakeDevice::kBar0), 0x5a);
    write<std::uint16_t>(kSlot + 4, 0);  // memory off
    EXPECT_TRUE(slots.slots.empty());
    write<std::uint32_t>(kSlot + 0x10, static_cast<std::uint32_t>(before + 0x100000));
    write<std::uint16_t>(kSlot + 4, 2);
    EXPECT_TRUE(slots.slots.contains(before + 0x100000));
    EXPECT_EQ(slots.slots.size(), 1U);
}

TEST_F(FunctionTest, BarWhosePagesCannotBeMappedIsTrapped) {
    fake.mappable = true;
    slots.refuse = true;
    plug();
    write<std::uint32_t>(bar(0) + 0x14, 0x11223344);
    EXPECT_EQ(fake.at<std::uint32_t>(FakeDevice::kBar0 + 0x14), 0x11223344U);
    function.reset();
}

// threat_model.md, D-4, D-9: neither the driver alone nor a grant alone.
TEST_F(FunctionTest, BusMasteringNeedsTheDriverAndAGrant) {
    fake.put<std::uint16_t>(FakeDevice::kConfig + 4, 0x0107);
    plug();
    EXPECT_FALSE(fake.masters());
    write<std::uint16_t>(kSlot + 4, 6);
    EXPECT_EQ(read<std::uint16_t>(kSlot + 4), 6U);
    EXPECT_FALSE(fake.masters());
    function->set_reachable(true);
    EXPECT_TRUE(fake.masters());
    write<std::uint16_t>(kSlot + 4, 2);
    EXPECT_FALSE(fake.masters());
    write<std::uint16_t>(kSlot + 4, 6);
    EXPECT_TRUE(fake.masters());
    function->set_reachable(false);
    EXPECT_FALSE(fake.masters());
    EXPECT_EQ(failures, 0);
}

TEST_F(FunctionTest, ShutDownIsForGood) {
    plug();
    write<std::uint16_t>(kSlot + 4, 6);
    function->set_reachable(true);
    const int before = fake.resets;
    function->shut_down();
    EXPECT_EQ(fake.resets, before + 1);
    EXPECT_FALSE(fake.masters());
    write<std::uint16_t>(kSlot + 4, 6);
    function->set_reachable(false);
    function->set_reachable(true);
    write<std::uint16_t>(msix() + 2, 0x8000);
    EXPECT_FALSE(fake.masters());
    EXPECT_TRUE(fake.connected.empty());
}

TEST_F(FunctionTest, VectorsAreConnectedWhileTheDriverHasMsixOn) {
    plug();
    EXPECT_TRUE(fake.connected.empty());
    write<std::uint16_t>(msix() + 2, 0x8000);
    ASSERT_EQ(fake.connected.size(), FakeDevice::kVectors);
    EXPECT_EQ(fake.connected[2], function->signals()[2].fd().get());
    const std::uint64_t entry = bar(2) + 16;
    write<std::uint32_t>(entry, 0xfee00000);
    write<std::uint32_t>(entry + 8, 0x41);
    write<std::uint32_t>(entry + 12, 0);
    // Who signals is the kernel, and who hears of it too.
    EXPECT_EQ(interrupts.vectors[1]->event, &function->signals()[1]);
    EXPECT_EQ(interrupts.vectors[1]->message, (irq::MsiMessage{0xfee00000, 0x41}));
    EXPECT_EQ(interrupts.vectors[2]->message, std::nullopt);  // masked
    write<std::uint16_t>(msix() + 2, 0);
    EXPECT_TRUE(fake.connected.empty());
}

TEST_F(FunctionTest, DeviceWithoutMsixHasOneVectorOfMsi) {
    fake.have_msi_only();
    plug();
    const std::uint64_t msi = kSlot + read<std::uint8_t>(kSlot + 0x34);
    EXPECT_EQ(read<std::uint32_t>(msi), 0x00800005U);
    write<std::uint64_t>(msi + 4, 0x1fee00003);
    write<std::uint32_t>(msi + 12, 0xffff0041);
    EXPECT_EQ(read<std::uint64_t>(msi + 4), 0x1fee00000U);
    EXPECT_TRUE(fake.connected.empty());
    EXPECT_EQ(interrupts.vectors[0]->message, std::nullopt);
    write<std::uint16_t>(msi + 2, 0xffff);
    EXPECT_EQ(read<std::uint32_t>(msi), 0x00810005U);
    ASSERT_EQ(fake.connected.size(), 1U);
    EXPECT_EQ(fake.connected[0], function->signals()[0].fd().get());
    EXPECT_EQ(interrupts.vectors[0]->event, &function->signals()[0]);
    EXPECT_EQ(interrupts.vectors[0]->message, (irq::MsiMessage{0x1fee00000, 0x41}));
    write<std::uint16_t>(msi + 12, 0x42);  // the guest moves it to another processor while it is on
    EXPECT_EQ(interrupts.vectors[0]->message, (irq::MsiMessage{0x1fee00000, 0x42}));
    write<std::uint16_t>(msi + 2, 0);
    EXPECT_TRUE(fake.connected.empty());
    EXPECT_EQ(interrupts.vectors[0]->message, std::nullopt);
}

TEST_F(FunctionTest, LineThatWasAskedForIsTheGuestsWhileItsDriverHasNoMessagesOn) {
    fake.has_line = true;
    line = irq::LevelLine{.raised = EventFd::create().value(), .ended = EventFd::create().value()};
    const std::vector<int> events{line->raised.fd().get(), line->ended.fd().get()};
    plug();
    EXPECT_EQ(read<std::uint8_t>(kSlot + 0x3d), 1U);
    EXPECT_EQ(fake.line, events);
    write<std::uint16_t>(msix() + 2, 0x8000);
    EXPECT_TRUE(fake.line.empty());
    EXPECT_EQ(fake.connected.size(), FakeDevice::kVectors);
    write<std::uint16_t>(msix() + 2, 0);
    EXPECT_TRUE(fake.connected.empty());
    EXPECT_EQ(fake.line, events);
    write<std::uint16_t>(kSlot + 4, 0x0402);  // the driver's own way to be rid of it
    EXPECT_TRUE(fake.line.empty());
    write<std::uint16_t>(kSlot + 4, 2);
    EXPECT_EQ(fake.line, events);
    function->shut_down();
    EXPECT_TRUE(fake.line.empty());
}

TEST_F(FunctionTest, DeviceWithoutALineHasNoneThoughItWasAskedFor) {
    line = irq::LevelLine{.raised = EventFd::create().value(), .ended = EventFd::create().value()};
    plug();
    EXPECT_EQ(read<std::uint8_t>(kSlot + 0x3d), 0U);
    write<std::uint16_t>(kSlot + 4, 2);
    EXPECT_TRUE(fake.line.empty());
}

TEST_F(FunctionTest, CapabilityListThatLoopsIsNoList) {
    fake.put<std::uint16_t>(FakeDevice::kConfig + 0x40, 0x4001);
    plug();
    EXPECT_EQ(read<std::uint8_t>(kSlot + 0x34), 0U);
    EXPECT_TRUE(function->signals().empty());
}

}  // namespace
}  // namespace holdfast::vfio
