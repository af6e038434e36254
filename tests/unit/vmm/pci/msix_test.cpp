// SPDX-License-Identifier: Apache-2.0
#include "vmm/pci/msix.hpp"

#include <gtest/gtest.h>

#include "tests/unit/vmm/pci/fake_interrupts.hpp"
#include "vmm/pci/spec.hpp"

namespace holdfast::pci {
namespace {

class MsixTest : public testing::Test {
protected:
    template <typename T>
    void write(std::uint64_t offset, T value) {
        msix->write(offset, std::as_bytes(std::span{&value, 1}));
    }
    template <typename T = std::uint32_t>
    T read(std::uint64_t offset) {
        T value{};
        msix->read(offset, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }
    void set(unsigned vector, std::uint64_t address, std::uint32_t data) {
        write(16 * vector, static_cast<std::uint32_t>(address));
        write(16 * vector + 4, static_cast<std::uint32_t>(address >> 32));
        write(16 * vector + 8, data);
    }
    void mask(unsigned vector, bool masked) { write<std::uint32_t>(16 * vector + 12, masked ? 1 : 0); }
    int triggers(unsigned vector) { return source.vectors[vector]->triggers; }

    irq::FakeMsi source;
    std::unique_ptr<Msix> msix = Msix::create(source, 3).value();
};

TEST_F(MsixTest, VectorsStartMaskedAndDeliverNothing) {
    EXPECT_EQ(read(12), 1U);
    msix->trigger(0);
    msix->set_control(spec::MSIX_ENABLE);
    EXPECT_EQ(triggers(0), 0);  // MSI-X was off: nothing is pending either
    EXPECT_EQ(read(Msix::kPendingOffset), 0U);
}

TEST_F(MsixTest, UnmaskedVectorIsRoutedAndDelivered) {
    msix->set_control(spec::MSIX_ENABLE);
    set(1, 0x1fee00000, 0x4042);
    EXPECT_EQ(source.vectors[1]->routes, 0);
    mask(1, false);
    EXPECT_EQ(source.vectors[1]->routes, 1);
    EXPECT_EQ(source.vectors[1]->message, (irq::MsiMessage{0x1fee00000, 0x4042}));
    msix->trigger(1);
    EXPECT_EQ(triggers(1), 1);
    mask(1, false);
    EXPECT_EQ(source.vectors[1]->routes, 1);  // nothing has changed
    mask(1, true);
    EXPECT_EQ(source.vectors[1]->message, std::nullopt);
}

TEST_F(MsixTest, InterruptWhileMaskedIsPendingAndComesOnceOnUnmask) {
    msix->set_control(spec::MSIX_ENABLE);
    set(2, 0xfee00000, 7);
    msix->trigger(2);
    msix->trigger(2);
    EXPECT_EQ(triggers(2), 0);
    EXPECT_EQ(read(Msix::kPendingOffset), 4U);
    EXPECT_EQ(read<std::uint64_t>(Msix::kPendingOffset), 4U);
    mask(2, false);
    EXPECT_EQ(triggers(2), 1);
    EXPECT_EQ(read(Msix::kPendingOffset), 0U);
}

TEST_F(MsixTest, FunctionMaskHoldsAllVectorsBack) {
    set(0, 0xfee00000, 1);
    mask(0, false);
    msix->set_control(spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK);
    msix->trigger(0);
    EXPECT_EQ(triggers(0), 0);
    msix->set_control(spec::MSIX_ENABLE);
    EXPECT_EQ(triggers(0), 1);
}

TEST_F(MsixTest, TableWritesOfOddSizeOrPlaceDoNothing) {
    write<std::uint8_t>(0, 0xff);
    write<std::uint16_t>(0, 0xffff);
    write<std::uint32_t>(2, 0xffffffff);
    write<std::uint32_t>(16 * 3, 0xffffffff);  // past the last vector
    write<std::uint32_t>(Msix::kPendingOffset, 0xffffffff);
    write<std::uint32_t>(Msix::kBarSize - 4, 0xffffffff);
    EXPECT_EQ(read(0), 0U);
    EXPECT_EQ(read(16 * 3), 0U);
    EXPECT_EQ(read(Msix::kPendingOffset), 0U);
    EXPECT_EQ(read(Msix::kBarSize - 4), 0U);
    EXPECT_EQ(read<std::uint8_t>(0), 0U);
    write<std::uint64_t>(0, 0x1122334455667788);
    EXPECT_EQ(read<std::uint64_t>(0), 0x1122334455667788U);
}

TEST_F(MsixTest, VectorThatDoesNotExistIsIgnored) {
    msix->set_control(spec::MSIX_ENABLE);
    msix->trigger(3);
    msix->trigger(0xffff);
    EXPECT_EQ(read(Msix::kPendingOffset), 0U);
}

TEST_F(MsixTest, CapabilityNamesTableAndPendingBits) {
    const auto bytes = msix->capability(1);
    EXPECT_EQ(bytes[0], std::byte{0x11});
    EXPECT_EQ(bytes[2], std::byte{2});  // size less one
    EXPECT_EQ(bytes[4], std::byte{1});
    EXPECT_EQ(bytes[8], std::byte{1});
    EXPECT_EQ(bytes[9], std::byte{8});
}

TEST(Msix, SourceThatRunsDryIsAnError) {
    irq::FakeMsi source;
    source.most = 2;
    EXPECT_FALSE(Msix::create(source, 3).has_value());
}

}  // namespace
}  // namespace holdfast::pci
