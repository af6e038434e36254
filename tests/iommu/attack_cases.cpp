// SPDX-License-Identifier: Apache-2.0
// A device that attacks: it is told to read and write what its domain did not grant. Runs in the emulated
// host (attack_test), against real VFIO and VT-d; every case looks at the bytes. HF_DEVICE is the address of
// an edu that is bound to vfio-pci, alone in its group.
#include <algorithm>
#include <array>
#include <csignal>
#include <fstream>
#include <optional>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "iommu/domain.hpp"
#include "sys/mapping.hpp"
#include "tests/iommu/edu.hpp"
#include "tests/iommu/opened.hpp"

namespace holdfast::iommu {
namespace {

constexpr std::uint64_t kRam = 64 * kPageSize;

/// Pages that the kernel holds for devices, over all of the machine.
std::int64_t pinned_pages() {
    std::ofstream{"/proc/sys/vm/stat_refresh"} << "1\n";
    std::ifstream file{"/proc/vmstat"};
    std::string name;
    std::int64_t value = 0;
    std::int64_t pinned = 0;
    while (file >> name >> value) {
        if (name == "nr_foll_pin_acquired") pinned += value;
        if (name == "nr_foll_pin_released") pinned -= value;
    }
    return pinned;
}

/// Guest RAM is 64 pages; page N is filled with the byte N + 1. What the device read comes back through page
/// 0.
class Attack : public testing::Test {
protected:
    void SetUp() override {
        if (device_address().empty())
            GTEST_SKIP() << "skip: no emulated host with an edu (tests/iommu/attack_test)";
        memory = std::move(*holdfast::Mapping::anonymous(kRam));
        for (std::uint64_t at = 0; at < kRam; ++at) {
            memory.bytes()[at] = static_cast<std::byte>(at / kPageSize + 1);
        }
        files = open_device(device_address());
        space = std::move(*host::Type1Space::create(std::move(*files.container.duplicate())));
        device.emplace(std::move(*host::Device::create(std::move(files.device))));
        ASSERT_TRUE(device->reset());
        edu.emplace(*device);
        pages.emplace(memory.bytes());
        domain.emplace(Limits{.max_mappings = 64, .max_bytes = kRam}, *pages);
        ASSERT_TRUE(domain->attach(*space));
        ASSERT_TRUE(device->set_bus_master(host::BusMaster::On));
    }
    void grant(std::uint64_t iova, std::uint64_t first_page, std::uint64_t count = 1,
               Access access = Access::ReadWrite) {
        EXPECT_TRUE(domain->map({.start = Iova{iova},
                                 .size = count * kPageSize,
                                 .target = GuestAddr{first_page * kPageSize},
                                 .access = access}));
    }
    void revoke(std::uint64_t iova, std::uint64_t count = 1) {
        EXPECT_TRUE(domain->unmap({Iova{iova}, Iova{iova + count * kPageSize - 1}}));
    }
    std::span<std::byte> page(std::uint64_t number) {
        return memory.bytes().subspan(number * kPageSize, kPageSize);
    }
    bool page_is(std::uint64_t number, unsigned value) {
        return std::ranges::all_of(page(number),
                                   [&](std::byte b) { return b == static_cast<std::byte>(value); });
    }
    bool untouched() {
        for (std::uint64_t i = 0; i < kRam / kPageSize; ++i) {
            if (!page_is(i, static_cast<unsigned>(i + 1))) return false;
        }
        return true;
    }
    /// What the device finds at `from`, shown through page 0, which is granted for that.
    std::span<std::byte> loot(Iova from) {
        edu->read_memory(from, kPageSize);
        grant(kShown, 0);
        edu->write_memory(Iova{kShown}, kPageSize);
        revoke(kShown);
        return page(0);
    }
    /// The device's buffer is full of `value`.
    void arm(unsigned value) {
        std::ranges::fill(page(0), static_cast<std::byte>(value));
        grant(kShown, 0);
        edu->read_memory(Iova{kShown}, kPageSize);
        revoke(kShown);
        std::ranges::fill(page(0), std::byte{1});
    }
    static bool zeros(std::span<const std::byte> bytes) {
        return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
    }

    static constexpr std::uint64_t kShown = 0x70000000;
    holdfast::Mapping memory;
    host::Type1Device files;
    std::unique_ptr<host::Type1Space> space;
    std::optional<host::Device> device;
    std::optional<Edu> edu;
    std::optional<PlainPages> pages;
    std::optional<Domain> domain;
};

TEST_F(Attack, BeforeTheFirstGrantNothingIsReachable) {
    for (const std::uint64_t at : {0ULL, 0x1000ULL, 0x100000ULL, 0x40000000ULL, 0xfffff000ULL}) {
        edu->write_memory(Iova{at}, kPageSize);
    }
    EXPECT_TRUE(untouched());
    EXPECT_TRUE(zeros(loot(Iova{0x100000})));
}

TEST_F(Attack, WhatIsGrantedWorksBothWays) {
    grant(0x100000, 5);

    EXPECT_EQ(loot(Iova{0x100000})[0], std::byte{6});
    arm(0xab);
    edu->write_memory(Iova{0x100000}, kPageSize);
    EXPECT_TRUE(page_is(5, 0xab));
}

TEST_F(Attack, WithoutBusMasteringEvenAGrantIsNotReachable) {
    grant(0x100000, 5);
    arm(0xab);
    ASSERT_TRUE(device->set_bus_master(host::BusMaster::Off));

    edu->write_memory(Iova{0x100000}, kPageSize);

    EXPECT_TRUE(untouched());
}

TEST_F(Attack, ReadOnlyGrantIsNotWritten) {
    grant(0x100000, 5, 1, Access::Read);
    arm(0xab);

    edu->write_memory(Iova{0x100000}, kPageSize);

    EXPECT_TRUE(untouched());
    EXPECT_EQ(loot(Iova{0x100000})[0], std::byte{6});
}

TEST_F(Attack, NeighboursOfAGrantAreNotReachable) {
    grant(0x100000, 5);
    arm(0xab);

    edu->write_memory(Iova{0x0ff000}, kPageSize);
    edu->write_memory(Iova{0x101000}, kPageSize);
    EXPECT_TRUE(untouched());
    // Across each edge: the half outside of the grant must not arrive.
    edu->write_memory(Iova{0x0ff800}, kPageSize);
    edu->write_memory(Iova{0x100800}, kPageSize);
    EXPECT_TRUE(page_is(4, 5));
    EXPECT_TRUE(page_is(6, 7));
    EXPECT_TRUE(zeros(loot(Iova{0x101000})));
}

TEST_F(Attack, JustRevokedIsNotReachableAndNothingElseIsLost) {
    grant(0x100000, 5);
    grant(0x200000, 9);
    arm(0xab);
    edu->write_memory(Iova{0x100000}, kPageSize);  // the IOMMU's caches know it now
    ASSERT_TRUE(page_is(5, 0xab));
    std::ranges::fill(page(5), std::byte{6});

    revoke(0x100000);
    edu->write_memory(Iova{0x100000}, kPageSize);

    EXPECT_TRUE(untouched());
    EXPECT_EQ(loot(Iova{0x200000})[0], std::byte{10});
}

TEST_F(Attack, RevokedWhileTheDeviceIsAtItMeansRevoked) {
    grant(0x100000, 5);
    arm(0xab);
    edu->start_write(Iova{0x100000}, kPageSize);  // arrives 100 ms of the device's time later

    revoke(0x100000);
    std::ranges::fill(page(5), std::byte{6});
    edu->read_memory(Iova{0}, 16);  // queued behind: when it is done, so is the write

    EXPECT_TRUE(untouched());
}

TEST_F(Attack, GrantMovedElsewhereReachesTheNewPageOnly) {
    grant(0x100000, 5);
    edu->read_memory(Iova{0x100000}, kPageSize);
    revoke(0x100000);
    grant(0x100000, 7);
    arm(0xab);

    edu->write_memory(Iova{0x100000}, kPageSize);

    EXPECT_TRUE(page_is(5, 6));
    EXPECT_TRUE(page_is(7, 0xab));
}

TEST_F(Attack, PhysicalAndVirtualAddressesOfThisProcessReachNothing) {
    grant(0x100000, 5);
    arm(0xab);
    const UniqueFd pagemap{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
    unsigned tried = 0;
    for (std::uint64_t i = 0; i < kRam / kPageSize; ++i) {
        // SAFETY: the number of a page is wanted, nothing is accessed.
        const auto virtual_at = reinterpret_cast<std::uintptr_t>(page(i).data());
        std::uint64_t entry = 0;
        ASSERT_EQ(::pread(pagemap.get(), &entry, 8, static_cast<off_t>(virtual_at / kPageSize * 8)), 8);
        const std::uint64_t physical = (entry & ((1ULL << 55) - 1)) * kPageSize;
        if (physical == 0 || physical > 0xf0000000) continue;
        if (++tried > 4) break;
        edu->write_memory(Iova{physical}, kPageSize);
        edu->write_memory(Iova{virtual_at & 0xfffff000}, kPageSize);
        ASSERT_TRUE(page_is(i, static_cast<unsigned>(i + 1))) << "page " << i << " at " << physical;
    }
    EXPECT_GT(tried, 0);
    EXPECT_TRUE(untouched());
}

TEST_F(Attack, HostRefusesWhatADomainWouldNotAsk) {
    ASSERT_TRUE(space->map(Iova{0x100000}, page(5), Access::Read));
    EXPECT_EQ(space->map(Iova{0x100000}, page(6), Access::Read).error().os_errno, EEXIST);
    EXPECT_FALSE(space->map(Iova{0x200800}, page(6), Access::Read));
    EXPECT_FALSE(space->map(Iova{0xfee00000}, page(6), Access::ReadWrite));
    ASSERT_TRUE(space->map(Iova{0x300000}, memory.bytes().first(4 * kPageSize), Access::Read));
    EXPECT_FALSE(space->unmap({Iova{0x300000}, Iova{0x300fff}}));
    EXPECT_EQ(*space->unmap({Iova{0x0}, Iova{0xffffffff}}), 5 * kPageSize);
}

TEST_F(Attack, InterruptWindowIsRefusedByTheDomainAndOutsideOfWhatTheHostCanMap) {
    EXPECT_EQ(domain->map({.start = Iova{0xfee00000}, .size = kPageSize, .target = GuestAddr{0}}),
              std::unexpected{Refusal::Reserved});
    for (const IovaRange usable : space->usable()) EXPECT_FALSE(usable.touches(kMsiWindow));
}

TEST_F(Attack, CapHoldsFarBelowTheHostsOwn) {
    for (std::uint64_t i = 0; i < 64; ++i) grant(i * 2 * kPageSize, i);
    EXPECT_EQ(domain->map({.start = Iova{0x1000000}, .size = kPageSize, .target = GuestAddr{0}}),
              std::unexpected{Refusal::TooManyMappings});
}

TEST_F(Attack, ResetLeavesBusMasteringOff) {
    ASSERT_TRUE(*device->is_bus_master());
    ASSERT_TRUE(device->reset());

    EXPECT_FALSE(*device->is_bus_master());
}

/// A VMM that is killed while its device works: the kernel takes everything back, and the next owner finds a
/// device that does nothing.
class Killed : public testing::Test {};

TEST_F(Killed, LeavesNothingMappedNothingPinnedAndADeviceThatIsUsableAgain) {
    if (device_address().empty())
        GTEST_SKIP() << "skip: no emulated host with an edu (tests/iommu/attack_test)";
    auto shared = std::move(*sealed_memfd("guest-ram", 16 * kPageSize));
    const auto memory = std::move(*holdfast::Mapping::shared(shared, 16 * kPageSize));
    const std::int64_t pinned_before = pinned_pages();
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        const auto mine = std::move(*holdfast::Mapping::shared(shared, 16 * kPageSize));
        auto files = open_device(device_address());
        const auto space = std::move(*host::Type1Space::create(std::move(files.container)));
        const auto device = std::move(*host::Device::create(std::move(files.device)));
        Edu edu{device};
        bool good = space->map(Iova{0x100000}, mine.bytes(), Access::ReadWrite).has_value();
        good = good && device.set_bus_master(host::BusMaster::On).has_value();
        edu.start_write(Iova{0x100000}, kPageSize);
        const char byte = good && pinned_pages() >= pinned_before + 16 ? 'y' : 'n';
        if (::write(ends[1], &byte, 1) != 1) ::_exit(1);
        for (;;) ::pause();
    }
    ::close(ends[1]);
    char byte = 0;
    ASSERT_EQ(::read(ends[0], &byte, 1), 1);
    ::close(ends[0]);
    EXPECT_EQ(byte, 'y') << "the mapping was not pinned";
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);

    EXPECT_EQ(pinned_pages(), pinned_before);
    auto files = open_device(device_address());
    vfio_region_info config{.argsz = sizeof config,
                            .flags = 0,
                            .index = host::kConfigRegion,
                            .cap_offset = 0,
                            .size = 0,
                            .offset = 0};
    ASSERT_EQ(::ioctl(files.device.get(), VFIO_DEVICE_GET_REGION_INFO, &config), 0);
    std::uint16_t command = 0;
    ASSERT_EQ(::pread(files.device.get(), &command, 2, static_cast<off_t>(config.offset + 4)), 2);
    EXPECT_EQ(command & 4, 0) << "the device masters the bus";
    const auto space = std::move(*host::Type1Space::create(std::move(files.container)));
    const auto device = std::move(*host::Device::create(std::move(files.device)));
    std::ranges::fill(memory.bytes(), std::byte{0x11});
    ASSERT_TRUE(device.set_bus_master(host::BusMaster::On));
    Edu{device}.write_memory(Iova{0x100000}, kPageSize);
    EXPECT_TRUE(std::ranges::all_of(memory.bytes(), [](std::byte b) { return b == std::byte{0x11}; }));
}

}  // namespace
}  // namespace holdfast::iommu
