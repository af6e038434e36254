// SPDX-License-Identifier: Apache-2.0
// What the guest finds at its first instruction: memory map, command line, initrd, ACPI tables.
#include "vmm/boot/boot.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <unistd.h>

#include "guest_agent/builtin/image.hpp"
#include "vmm/boot/acpi.hpp"
#include "vmm/boot/layout.hpp"

namespace holdfast::boot {
namespace {

class BootTest : public testing::Test {
protected:
    static UniqueFd file_of(std::span<const std::byte> bytes) {
        UniqueFd fd = sealed_memfd("file", bytes.size()).value();
        EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
        return fd;
    }
    template <typename T>
    T at(std::uint64_t address) {
        return memory.read_value<T>(GuestAddr{address}).value();
    }
    std::vector<std::byte> bytes_at(std::uint64_t address, std::size_t size) {
        std::vector<std::byte> bytes(size);
        EXPECT_TRUE(memory.read(GuestAddr{address}, bytes).has_value());
        return bytes;
    }
    memcrypt::GuestMemory memory = memcrypt::GuestMemory::create_plain(ram_ranges(128ULL << 20)).value();
    Loader loader{memory};
    UniqueFd kernel = file_of(guest_agent::builtin_image());
    UniqueFd none;
};

TEST_F(BootTest, StartInfoLeadsToCmdlineInitrdAndMemoryMap) {
    const std::vector<std::byte> initrd(5000, std::byte{0x42});
    const UniqueFd initrd_file = file_of(initrd);
    const auto entry =
        load(loader, {.kernel = kernel, .initrd = initrd_file, .cmdline = "job=hello", .cpus = 2});
    ASSERT_TRUE(entry.has_value()) << entry.error().what;
    const std::uint64_t info = entry->argument.value();
    EXPECT_EQ(at<std::uint32_t>(info), 0x336ec578U);
    const auto cmdline = bytes_at(at<std::uint64_t>(info + 24), 10);
    EXPECT_EQ(std::memcmp(cmdline.data(), "job=hello", 10), 0);
    ASSERT_EQ(at<std::uint32_t>(info + 12), 1U);
    const std::uint64_t module = at<std::uint64_t>(info + 16);
    EXPECT_EQ(at<std::uint64_t>(module + 8), initrd.size());
    EXPECT_EQ(at<std::uint64_t>(module) % kPageSize, 0U);
    EXPECT_EQ(bytes_at(at<std::uint64_t>(module), initrd.size()), initrd);
    EXPECT_EQ(at<std::uint32_t>(info + 48), 4U);
}

TEST_F(BootTest, InitrdThatWouldReachIntoTheKernelIsRefused) {
    const std::vector<std::byte> initrd(127U << 20);
    const UniqueFd initrd_file = file_of(initrd);
    const auto entry = load(loader, {.kernel = kernel, .initrd = initrd_file, .cmdline = ""});
    ASSERT_FALSE(entry.has_value());
    EXPECT_STREQ(entry.error().what, "guest memory is too small for kernel and initrd");
}

TEST_F(BootTest, EmptyInitrdIsRefused) {
    const UniqueFd empty = sealed_memfd("empty", 0).value();
    EXPECT_FALSE(load(loader, {.kernel = kernel, .initrd = empty, .cmdline = ""}).has_value());
}

TEST_F(BootTest, CmdlineWithAZeroByteIsRefused) {
    using namespace std::string_view_literals;
    EXPECT_FALSE(load(loader, {.kernel = kernel, .initrd = none, .cmdline = "a\0b"sv}).has_value());
}

// tests/linux reboots a guest through it.
TEST_F(BootTest, TheResetVectorWritesTheResetRegister) {
    ASSERT_TRUE(load(loader, {.kernel = kernel, .initrd = none, .cmdline = ""}).has_value());
    constexpr std::array code{std::byte{0xba}, std::byte{0x02}, std::byte{0x06},   // mov dx, 0x602
                              std::byte{0xb0}, std::byte{0x01}, std::byte{0xee}};  // mov al, 1; out dx, al
    const auto found = bytes_at(0xffff0, code.size());
    EXPECT_TRUE(std::ranges::equal(found, code));
}

TEST_F(BootTest, MemoryMapLeavesOutTheHoleAndReservesWhatIsNotRam) {
    const auto big = memcrypt::GuestMemory::create_plain(ram_ranges(4ULL << 30)).value();
    const auto map = memory_map(big);
    std::uint64_t ram = 0;
    std::uint64_t end = 0;
    for (const MemoryRange& range : map) {
        EXPECT_GE(range.start, end);
        end = range.start + range.size;
        if (range.type == MemoryType::Ram) {
            ram += range.size;
            EXPECT_TRUE(range.start >= kHoleEnd || end <= kHoleStart);
        }
    }
    EXPECT_EQ(ram, (4ULL << 30) - (0x100000 - 0x9fc00));
}

/// Follows RSDP and XSDT as a guest does, checking every sum.
class AcpiTest : public BootTest {
protected:
    void SetUp() override { ASSERT_TRUE(write_acpi_tables(loader, 3, tpm, viot).has_value()); }
    std::vector<std::byte> table(std::uint64_t address) {
        auto bytes = bytes_at(address, at<std::uint32_t>(address + 4));
        EXPECT_EQ(sum(bytes), 0) << address;
        return bytes;
    }
    static std::uint8_t sum(std::span<const std::byte> bytes) {
        std::uint8_t total = 0;
        for (const std::byte byte : bytes)
            total = static_cast<std::uint8_t>(total + std::to_integer<std::uint8_t>(byte));
        return total;
    }
    WithTpm tpm = WithTpm::No;
    std::optional<Viot> viot;
    std::vector<std::byte> find(std::string_view signature) {
        const auto xsdt = table(at<std::uint64_t>(kAcpiTables.value() + 24));
        for (std::size_t offset = 36; offset + 8 <= xsdt.size(); offset += 8) {
            std::uint64_t address = 0;
            std::memcpy(&address, xsdt.data() + offset, 8);
            auto bytes = table(address);
            if (std::memcmp(bytes.data(), signature.data(), 4) == 0) return bytes;
        }
        return {};
    }
};

TEST_F(AcpiTest, EveryTableIsReachedAndSumsToZero) {
    EXPECT_EQ(sum(bytes_at(kAcpiTables.value(), 20)), 0);
    EXPECT_EQ(sum(bytes_at(kAcpiTables.value(), 36)), 0);
    const auto fadt = find("FACP");
    ASSERT_EQ(fadt.size(), 276U);
    std::uint64_t dsdt_address = 0;
    std::memcpy(&dsdt_address, fadt.data() + 140, 8);
    EXPECT_EQ(table(dsdt_address).size(), dsdt().size());
    EXPECT_EQ(find("MCFG").size(), 60U);
}

TEST_F(AcpiTest, MadtListsEveryCpuOnce) {
    const auto madt = find("APIC");
    ASSERT_EQ(madt.size(), 44U + 3 * 8 + 12);
    for (std::size_t cpu = 0; cpu < 3; ++cpu) EXPECT_EQ(madt[44 + cpu * 8 + 3], std::byte(cpu));
}

class AcpiWithTpmTest : public AcpiTest {
protected:
    AcpiWithTpmTest() { tpm = WithTpm::Yes; }
};

TEST_F(AcpiTest, MachineWithoutATpmHasNoTableOfOne) {
    EXPECT_TRUE(find("TPM2").empty());
    EXPECT_TRUE(find("SSDT").empty());
}

TEST_F(AcpiWithTpmTest, Tpm2NamesTheCrbAndTheEventLog) {
    const auto table = find("TPM2");
    ASSERT_EQ(table.size(), 76U);
    const auto number = [&table]<typename T>(std::size_t offset, T value) {
        std::memcpy(&value, table.data() + offset, sizeof value);
        return value;
    };
    EXPECT_EQ(number(40, std::uint64_t{}), 0xfed40040U);
    EXPECT_EQ(number(48, std::uint32_t{}), 7U);
    EXPECT_EQ(number(64, std::uint32_t{}), kEventLogSize);
    EXPECT_EQ(number(68, std::uint64_t{}), kEventLog.value());
    EXPECT_EQ(find("SSDT").size(), tpm_ssdt().size());
}

class AcpiWithIommuTest : public AcpiTest {
protected:
    AcpiWithIommuTest() { viot = Viot{.iommu = 4, .first = 5, .last = 6}; }
};

TEST_F(AcpiTest, MachineWithoutDevicesOfTheHostHasNoIommu) { EXPECT_TRUE(find("VIOT").empty()); }

class AcpiWithLinesTest : public AcpiTest {
protected:
    AcpiWithLinesTest() { viot = Viot{.iommu = 4, .first = 5, .last = 6, .lines = true}; }
};

TEST_F(AcpiWithLinesTest, LinesAreRoutedToPinsThatNothingElseHas) {
    EXPECT_EQ(find("SSDT").size(), intx_ssdt().size());
    std::set<std::uint32_t> pins;
    for (std::uint8_t slot = 5; slot < 9; ++slot) pins.insert(line_gsi(slot));
    EXPECT_EQ(pins, (std::set<std::uint32_t>{16, 17, 18, 19}));
}

TEST_F(AcpiWithIommuTest, LinesThatNobodyAskedForAreNotRouted) { EXPECT_TRUE(find("SSDT").empty()); }

// ACPI 6.5 §5.2.34; Linux takes the table apart in drivers/acpi/viot.c.
TEST_F(AcpiWithIommuTest, ViotPutsExactlyTheDevicesBehindTheIommu) {
    const auto table = find("VIOT");
    ASSERT_EQ(table.size(), 48U + 16 + 24);
    const auto number = [&table]<typename T>(std::size_t offset, T value) {
        std::memcpy(&value, table.data() + offset, sizeof value);
        return value;
    };
    EXPECT_EQ(number(36, std::uint16_t{}), 2U);
    EXPECT_EQ(number(38, std::uint16_t{}), 48U);
    EXPECT_EQ(number(48, std::uint8_t{}), 3U);  // virtio-iommu, PCI
    EXPECT_EQ(number(50, std::uint16_t{}), 16U);
    EXPECT_EQ(number(54, std::uint16_t{}), 4U << 3);
    EXPECT_EQ(number(64, std::uint8_t{}), 1U);  // PCI range
    EXPECT_EQ(number(66, std::uint16_t{}), 24U);
    EXPECT_EQ(number(68, std::uint32_t{}), endpoint_id(5));
    EXPECT_EQ(number(76, std::uint16_t{}), 5U << 3);
    EXPECT_EQ(number(78, std::uint16_t{}), 6U << 3);
    EXPECT_EQ(number(80, std::uint16_t{}), 48U);
}

}  // namespace
}  // namespace holdfast::boot
