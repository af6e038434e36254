// SPDX-License-Identifier: Apache-2.0
// The launch digest of our own VMM: what it covers. That it is the chain that it claims to be:
// tests/cli/measure_test.py, with an implementation of its own.
#include "vmm/guest_load.hpp"

#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "guest_agent/builtin/image.hpp"
#include "vmm/boot/layout.hpp"
#include "vmm/boot/vcpu_state.hpp"

namespace holdfast::vmm {
namespace {

class GuestLoadTest : public testing::Test {
protected:
    static UniqueFd file_of(std::span<const std::byte> bytes) {
        UniqueFd fd = sealed_memfd("file", bytes.size()).value();
        EXPECT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
        return fd;
    }
    Result<LoadedGuest> load() {
        const auto memory =
            HF_TRY(memcrypt::GuestMemory::create_plain(boot::ram_ranges(config.memory_bytes)));
        return load_guest(memory, config, file_of(kernel), initrd.empty() ? UniqueFd{} : file_of(initrd));
    }
    Digest384 digest() { return load().value().launch_digest.value(); }

    LaunchConfig config{.memory_bytes = 64ULL << 20,
                        .cpus = 2,
                        .tier = memcrypt::Tier::Software,
                        .cmdline = "job=hello",
                        .flat_entry = true,
                        .disks = {{.size_bytes = 512, .read_only = false}}};
    std::vector<std::byte> kernel{guest_agent::builtin_image().begin(), guest_agent::builtin_image().end()};
    std::vector<std::byte> initrd = std::vector<std::byte>(5000, std::byte{7});
};

TEST_F(GuestLoadTest, SameLaunchHasTheSameDigest) { EXPECT_EQ(digest(), digest()); }

TEST_F(GuestLoadTest, TierWithoutProtectionHasNoDigest) {
    config.tier = memcrypt::Tier::None;
    EXPECT_FALSE(load().value().launch_digest.has_value());
}

TEST_F(GuestLoadTest, EveryBitOfTheBootFilesCounts) {
    const auto before = digest();
    kernel.back() ^= std::byte{1};  // symbols at the end of the file are not loaded
    EXPECT_EQ(digest(), before);
    kernel[0x1000] ^= std::byte{1};
    const auto changed = digest();
    EXPECT_NE(changed, before);
    initrd.back() ^= std::byte{0x80};
    EXPECT_NE(digest(), changed);
}

TEST_F(GuestLoadTest, LengthOfTheInitrdCounts) {
    const auto before = digest();
    initrd.push_back(std::byte{0});  // as memory it looks the same
    EXPECT_NE(digest(), before);
}

TEST_F(GuestLoadTest, ShapeCounts) {
    const auto before = digest();
    const auto changes = [&](auto change) {
        const LaunchConfig kept = config;
        change(config);
        const bool differs = digest() != before;
        config = kept;
        return differs;
    };
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.cmdline = "job=hellp"; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.memory_bytes += 1U << 20; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.cpus = 3; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.disks[0].read_only = true; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.disks.push_back({}); }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.net = NetShape{}; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.vsock_cid = 3; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.virtio_console = true; }));
    EXPECT_TRUE(changes([](LaunchConfig& c) { c.devices.push_back({}); }));
}

TEST_F(GuestLoadTest, LineOfADeviceCounts) {
    config.devices.push_back({});
    const auto before = digest();
    config.devices[0].intx = true;
    EXPECT_NE(digest(), before);
}

TEST_F(GuestLoadTest, WhatTellsVmsOfOneShapeApartDoesNotCount) {
    config.net = NetShape{.mac = {2, 1}, .mtu = 1500};
    config.vsock_cid = 3;
    const auto before = digest();
    config.name = "another";
    config.start_paused = true;
    config.net = NetShape{.mac = {2, 2}, .mtu = 9000};
    config.vsock_cid = 4;
    config.disks[0].size_bytes = 1024;
    EXPECT_EQ(digest(), before);
}

TEST_F(GuestLoadTest, ShapeTextIsOneLineAThing) {
    config.disks.push_back({.size_bytes = 512, .read_only = true});
    config.net = NetShape{};
    EXPECT_EQ(shape_text(config),
              "holdfast shape 1\nmemory 67108864\ncpus 2\nconsole ttyS0\ndevice pvpanic\ndevice rng\n"
              "device disk\ndevice disk read-only\ndevice net\n");
}

TEST_F(GuestLoadTest, LargestShapeFitsIntoItsPage) {
    config.memory_bytes = kMaxMemory;
    config.disks.assign(16, {.size_bytes = 512, .read_only = true});
    config.net = NetShape{};
    config.vsock_cid = 3;
    config.virtio_console = true;
    EXPECT_LE(shape_text(config).size(), kPageSize);
}

TEST_F(GuestLoadTest, EntryAndPagesOfTheVcpusAgree) {
    const auto guest = load().value();
    const auto state = boot::boot_cpu_state(guest.entry);
    EXPECT_EQ(state.rip.get(), guest.entry.instruction.value());
    EXPECT_EQ(state.cr3.get(), boot::kPageTables.value());
    EXPECT_EQ(state.rsi.get(), guest.entry.argument.value());
    EXPECT_EQ(state.gdtr.base.get(), boot::kGdt.value());
    EXPECT_EQ(state.cs.attributes.get(), 0xa9bU);  // 64-bit code: G, L, present
    EXPECT_EQ(state.cs.limit.get(), 0xffffffffU);
    EXPECT_EQ(state.ds.attributes.get(), 0xc93U);
    EXPECT_EQ(state.tr.limit.get(), 0x67U);
}

}  // namespace
}  // namespace holdfast::vmm
