// SPDX-License-Identifier: Apache-2.0
// A device that attacks memory of the tier `software`: edu on real VFIO and VT-d, the pager on the real
// userfaultfd, and between them what holdfast-vmm has there. As attack_cases.cpp; every case looks at the
// bytes.
#include <algorithm>
#include <atomic>
#include <thread>

#include <gtest/gtest.h>

#include "iommu/domain.hpp"
#include "memcrypt/software/pager.hpp"
#include "tests/iommu/edu.hpp"
#include "tests/iommu/opened.hpp"
#include "vmm/vfio/pages.hpp"

namespace holdfast::iommu {
namespace {

/// Guest RAM is 1024 pages, of which 64 may be clear; page N is filled with the byte N % 251 + 1.
class SealedAttack : public testing::Test {
protected:
    static constexpr std::uint64_t kPages = 1024;
    static constexpr std::uint64_t kIova = 0x10000000;
    static constexpr std::uint64_t kShown = 0x70000000;

    void SetUp() override {
        if (device_address().empty())
            GTEST_SKIP() << "skip: no emulated host with an edu (tests/iommu/attack_test)";
        const std::array<memcrypt::GuestMemory::Range, 1> ranges{{{GuestAddr{0}, kPages * kPageSize}}};
        auto made = memcrypt::GuestMemory::create_software(
            ranges, open_file("/dev/userfaultfd"), {}, {},
            {.window_bytes = 64 * kPageSize, .seal_after = std::chrono::milliseconds{0}});
        ASSERT_TRUE(made.has_value()) << made.error().what;
        memory.emplace(std::move(*made));
        memory->report_loss_to(
            {.tampered = [](GuestAddr page) { ADD_FAILURE() << "tampered " << page.value(); },
             .failed = [](const Error& error) { ADD_FAILURE() << error.what; }});
        for (std::uint64_t i = 0; i < kPages; ++i) fill(i, byte_of(i));
        ASSERT_TRUE(memory->seal_all().has_value());
        pages.emplace(*memory, [](const Error& error) { ADD_FAILURE() << error.what; });
        files = open_device(device_address());
        space = std::move(*host::Type1Space::create(std::move(files.container)));
        device.emplace(std::move(*host::Device::create(std::move(files.device))));
        ASSERT_TRUE(device->reset());
        edu.emplace(*device);
        domain.emplace(Limits{.max_mappings = 64, .max_bytes = kPages * kPageSize}, *pages);
        ASSERT_TRUE(domain->attach(*space));
        ASSERT_TRUE(device->set_bus_master(host::BusMaster::On));
    }
    static std::uint8_t byte_of(std::uint64_t page) { return static_cast<std::uint8_t>(page % 251 + 1); }
    void fill(std::uint64_t page, std::uint8_t value) const {
        const std::vector<std::byte> bytes(kPageSize, std::byte{value});
        ASSERT_TRUE(memory->write(GuestAddr{page * kPageSize}, bytes).has_value());
    }
    [[nodiscard]] bool is(std::uint64_t page, std::uint8_t value) const {
        std::vector<std::byte> bytes(kPageSize);
        EXPECT_TRUE(memory->read(GuestAddr{page * kPageSize}, bytes).has_value());
        return std::ranges::all_of(bytes, [value](std::byte b) { return b == std::byte{value}; });
    }
    void grant(std::uint64_t iova, std::uint64_t page, std::uint64_t count = 1) {
        ASSERT_TRUE(domain->map({.start = Iova{iova},
                                 .size = count * kPageSize,
                                 .target = GuestAddr{page * kPageSize},
                                 .access = Access::ReadWrite}));
    }
    void revoke(std::uint64_t iova, std::uint64_t count = 1) {
        ASSERT_TRUE(domain->unmap({Iova{iova}, Iova{iova + count * kPageSize - 1}}));
    }
    /// Whether the device finds a page of `value` there. Page 0 shows what it found, and is put back.
    bool device_finds(std::uint64_t iova, std::uint8_t value) {
        edu->read_memory(Iova{iova}, kPageSize);
        grant(kShown, 0);
        edu->write_memory(Iova{kShown}, kPageSize);
        revoke(kShown);
        const bool found = is(0, value);
        fill(0, byte_of(0));
        return found;
    }
    [[nodiscard]] std::uint64_t exempt() const { return memory->statistics()->exempt; }

    std::optional<memcrypt::GuestMemory> memory;
    std::optional<vfio::Pages> pages;
    host::Type1Device files;
    std::unique_ptr<host::Type1Space> space;
    std::optional<host::Device> device;
    std::optional<Edu> edu;
    std::optional<Domain> domain;  // first to go: it unmaps
};

TEST_F(SealedAttack, OnlyTheGrantedPageIsClearAndSealedNeighboursStayIntact) {
    grant(kIova, 100);
    EXPECT_EQ(exempt(), 1U);
    EXPECT_TRUE(device_finds(kIova, byte_of(100)));

    for (const std::uint64_t iova :
         {kIova - kPageSize, kIova + kPageSize, 99 * kPageSize, 100 * kPageSize, 101 * kPageSize}) {
        EXPECT_TRUE(device_finds(iova, 0)) << iova;
        edu->write_memory(Iova{iova}, kPageSize);
    }

    // Opening verifies each: what had been changed would be reported, and fail.
    for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(is(i, byte_of(i))) << i;
    EXPECT_EQ(exempt(), 1U);
}

TEST_F(SealedAttack, RevokedPageIsSealedAndOutOfReach) {
    grant(kIova, 200);
    edu->read_memory(Iova{kIova}, kPageSize);
    revoke(kIova);
    EXPECT_EQ(exempt(), 0U);
    ASSERT_TRUE(memory->seal_all().has_value());
    EXPECT_EQ(memory->statistics()->sealed, kPages);

    EXPECT_TRUE(device_finds(kIova, 0));
    edu->write_memory(Iova{kIova}, kPageSize);

    EXPECT_TRUE(is(200, byte_of(200)));
}

TEST_F(SealedAttack, DeviceWritesAreKeptUnderEvictionPressure) {
    fill(1, 0xee);
    grant(kShown, 1);
    edu->read_memory(Iova{kShown}, kPageSize);  // its buffer is full of that
    revoke(kShown);
    constexpr std::uint64_t kCount = 128;  // twice the clear window
    grant(kIova, 300, kCount);
    EXPECT_EQ(exempt(), kCount);
    std::atomic<bool> done{false};
    std::jthread pressure{[&] {
        while (!done.load()) {
            for (std::uint64_t i = 500; i < 1000; ++i) fill(i, byte_of(i));
        }
    }};
    for (const std::uint64_t at : {0U, 63U, 64U, 127U})
        edu->write_memory(Iova{kIova + at * kPageSize}, kPageSize);
    revoke(kIova, kCount);
    done.store(true);
    pressure.join();

    EXPECT_EQ(exempt(), 0U);
    ASSERT_TRUE(memory->seal_all().has_value());
    for (std::uint64_t i = 0; i < kCount; ++i) {
        const bool written = i == 0 || i == 63 || i == 64 || i == 127;
        EXPECT_TRUE(is(300 + i, written ? 0xee : byte_of(300 + i))) << i;
    }
    EXPECT_LE(memory->statistics()->most_clear, 64U);
}

}  // namespace
}  // namespace holdfast::iommu
