// SPDX-License-Identifier: Apache-2.0
#include "iommu/virtio/guest_iommu.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include <gtest/gtest.h>

#include "tests/unit/iommu/fake_space.hpp"

namespace holdfast::iommu::virtio {
namespace {

using namespace spec;

constexpr std::uint64_t kRam = 16ULL << 20;
constexpr std::uint32_t kNic = 0x18;
constexpr std::uint32_t kDisk = 0x20;

class Notes final : public Witness {
public:
    void granted(std::uint32_t, const Mapping& mapping) noexcept override {
        last = mapping;
        ++grants;
    }
    void refused(std::uint32_t, const Mapping&, Refusal why) noexcept override { refusal = why; }
    void revoked(std::uint32_t, IovaRange, std::uint64_t mappings) noexcept override {
        revocations += mappings;
    }
    void lost() noexcept override { is_lost = true; }
    Mapping last;
    unsigned grants = 0;
    std::uint64_t revocations = 0;
    std::optional<Refusal> refusal;
    bool is_lost = false;
};

class GuestIommuTest : public testing::Test {
protected:
    GuestIommuTest() {
        iommu.add_endpoint(kNic, nic, 3, {.max_mappings = 100, .max_bytes = 1 << 20});
        iommu.add_endpoint(kDisk, disk, 4, {.max_mappings = 10, .max_bytes = 1 << 20});
    }
    template <typename T>
    int ask(const T& request) {
        std::array<std::byte, kMostAnswer> answer{};
        const std::size_t size = iommu.serve(std::as_bytes(std::span{&request, 1}), answer, 77);
        return size == 0 ? -1 : std::to_integer<int>(answer[size - sizeof(Tail)]);
    }
    int attach(std::uint32_t domain, std::uint32_t endpoint) {
        return ask(Attach{.head = {T_ATTACH}, .domain = domain, .endpoint = endpoint});
    }
    int detach(std::uint32_t domain, std::uint32_t endpoint) {
        return ask(Detach{.head = {T_DETACH}, .domain = domain, .endpoint = endpoint});
    }
    int map(std::uint32_t domain, std::uint64_t start, std::uint64_t end, std::uint64_t phys,
            std::uint32_t flags = 3) {
        return ask(spec::Map{.head = {T_MAP},
                             .domain = domain,
                             .virt_start = start,
                             .virt_end = end,
                             .phys_start = phys,
                             .flags = flags});
    }
    int unmap(std::uint32_t domain, std::uint64_t start, std::uint64_t end) {
        return ask(Unmap{.head = {T_UNMAP}, .domain = domain, .virt_start = start, .virt_end = end});
    }
    [[nodiscard]] bool nothing_mapped() const {
        return nic.entries_.empty() && disk.entries_.empty() &&
               std::ranges::all_of(pages.exposed_, [](int n) { return n == 0; });
    }
    FakePages pages{kRam};
    FakeSpace nic;
    FakeSpace disk;
    Notes notes;
    GuestIommu iommu{pages, notes};
};

TEST_F(GuestIommuTest, GrantReachesTheEndpointsOfItsDomainOnly) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x12fff, 0x4000, MAP_F_READ), S_OK);

    EXPECT_EQ(nic.entries_.at(0x10000),
              (FakeSpace::Entry{pages.locate(GuestAddr{0x4000}, 1)->data(), 0x3000, Access::Read}));
    EXPECT_TRUE(disk.entries_.empty());
    EXPECT_EQ(notes.last.rule, 3);
    EXPECT_EQ(notes.last.granted_at, 77);
    EXPECT_EQ(iommu.find(kNic, Iova{0x12fff})->target, GuestAddr{0x4000});
    EXPECT_EQ(iommu.find(kDisk, Iova{0x10000}), std::nullopt);
}

TEST_F(GuestIommuTest, WriteOnlyGrantsReadingTooAndSaysSo) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x10fff, 0x4000, MAP_F_WRITE), S_OK);

    EXPECT_EQ(notes.last.access, Access::ReadWrite);
}

TEST_F(GuestIommuTest, NothingIsMappedWithoutADomain) {
    EXPECT_EQ(map(1, 0x10000, 0x10fff, 0), S_NOENT);
    EXPECT_EQ(unmap(1, 0x10000, 0x10fff), S_NOENT);
    EXPECT_TRUE(nothing_mapped());
}

TEST_F(GuestIommuTest, StatusCodesAreThoseOfTheSpecification) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x11fff, 0), S_OK);
    EXPECT_EQ(map(1, 0x20000, 0x20ffe, 0), S_RANGE);
    EXPECT_EQ(map(1, 0x20800, 0x217ff, 0), S_RANGE);
    EXPECT_EQ(map(1, 0x21000, 0x20fff, 0), S_RANGE);
    EXPECT_EQ(map(1, 0, ~0ULL, 0), S_RANGE);
    EXPECT_EQ(map(1, ~0ULL - 0xfff, ~0ULL, 0), S_RANGE);
    EXPECT_EQ(map(1, 0x11000, 0x11fff, 0x8000), S_INVAL);
    EXPECT_EQ(map(1, 0xfee00000, 0xfee00fff, 0), S_INVAL);
    EXPECT_EQ(map(1, 0x30000, 0x30fff, kRam), S_INVAL);
    EXPECT_EQ(map(1, 0x30000, 0x30fff, ~0ULL - 0xfff), S_INVAL);
    EXPECT_EQ(map(1, 0x30000, 0x30fff, 0, 0), S_INVAL);
    EXPECT_EQ(map(1, 0x30000, 0x30fff, 0, 4), S_INVAL);  // MMIO was not offered
    EXPECT_EQ(map(1, 0x100000, 0x1fffff, 0x100000), S_NOMEM);
    EXPECT_EQ(unmap(1, 0x10000, 0x10fff), S_RANGE);
    EXPECT_EQ(unmap(1, 0x50000, 0x50fff), S_OK);
    EXPECT_EQ(unmap(1, 0x11000, 0x10fff), S_RANGE);
    nic.fail_map_in_ = 1;
    EXPECT_EQ(map(1, 0x30000, 0x30fff, 0), S_DEVERR);
    EXPECT_EQ(nic.entries_.size(), 1);
}

// Each device has the caps of its own rule; a domain has the lowest of those that share it.
TEST_F(GuestIommuTest, EachEndpointBringsItsOwnCaps) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    for (std::uint64_t at = 0; at < 11; ++at) ASSERT_EQ(map(1, at << 12, (at << 12) + 0xfff, at << 12), S_OK);
    EXPECT_EQ(attach(1, kDisk), S_NOMEM);  // ten are the most that it may reach
    EXPECT_TRUE(disk.entries_.empty());
    ASSERT_EQ(unmap(1, 0, 0x1fff), S_OK);
    EXPECT_EQ(attach(1, kDisk), S_OK);
    EXPECT_EQ(map(1, 0, 0xfff, 0), S_OK);
    EXPECT_EQ(map(1, 0x100000, 0x100fff, 0), S_NOMEM);
}

TEST_F(GuestIommuTest, BypassIsRefused) {
    EXPECT_EQ(ask(Attach{.head = {T_ATTACH}, .domain = 1, .endpoint = kNic, .flags = 1}), S_INVAL);
    EXPECT_EQ(iommu.domains(), 0);
}

TEST_F(GuestIommuTest, ReservedFieldsMustBeZeroAndForeignEndpointsAreUnknown) {
    EXPECT_EQ(ask(Attach{.head = {T_ATTACH}, .domain = 1, .endpoint = kNic, .reserved = 1}), S_INVAL);
    EXPECT_EQ(attach(1, 0x28), S_NOENT);
    EXPECT_EQ(detach(1, 0x28), S_NOENT);
    ASSERT_EQ(attach(1, kNic), S_OK);
    EXPECT_EQ(detach(2, kNic), S_INVAL);
    EXPECT_EQ(ask(Unmap{.head = {T_UNMAP}, .domain = 1, .virt_start = 0, .virt_end = 1, .reserved = 1}),
              S_INVAL);
}

TEST_F(GuestIommuTest, LastEndpointTakesTheDomainAndItsMappingsAlong) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(attach(1, kDisk), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x10fff, 0x4000), S_OK);
    ASSERT_EQ(detach(1, kNic), S_OK);
    EXPECT_TRUE(nic.entries_.empty());
    EXPECT_EQ(disk.entries_.size(), 1);

    ASSERT_EQ(detach(1, kDisk), S_OK);

    EXPECT_TRUE(nothing_mapped());
    EXPECT_EQ(notes.revocations, 1);
    ASSERT_EQ(attach(1, kNic), S_OK);
    EXPECT_TRUE(nic.entries_.empty());
}

TEST_F(GuestIommuTest, AttachingElsewhereLeavesTheOldDomain) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x10fff, 0x4000), S_OK);

    ASSERT_EQ(attach(2, kNic), S_OK);

    EXPECT_TRUE(nothing_mapped());
    EXPECT_EQ(iommu.domains(), 1);
    EXPECT_EQ(map(1, 0x10000, 0x10fff, 0x4000), S_NOENT);
}

TEST_F(GuestIommuTest, ResetForgetsAll) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x10fff, 0x4000), S_OK);

    iommu.reset();

    EXPECT_TRUE(nothing_mapped());
    EXPECT_EQ(iommu.domains(), 0);
}

TEST_F(GuestIommuTest, ProbeTellsOfTheInterruptWindowFirstAndOfOtherHoles) {
    nic.usable_ = {{Iova{0x1000}, Iova{0xfedfffff}}, {Iova{0xfef00000}, Iova{(1ULL << 39) - 1}}};
    const Probe request{.head = {T_PROBE}, .endpoint = kNic};
    std::array<std::byte, kMostAnswer> answer{};
    answer.fill(std::byte{0xff});
    ASSERT_EQ(iommu.serve(std::as_bytes(std::span{&request, 1}), answer, 0), kMostAnswer);

    std::array<ResvMem, 3> properties{};
    std::memcpy(properties.data(), answer.data(), sizeof properties);
    EXPECT_EQ(properties[0].subtype, RESV_MEM_T_MSI);
    EXPECT_EQ(properties[0].length.get(), 20);
    EXPECT_EQ(properties[0].start.get(), 0xfee00000);
    EXPECT_EQ(properties[0].end.get(), 0xfeefffff);
    EXPECT_EQ(properties[1].subtype, RESV_MEM_T_RESERVED);
    EXPECT_EQ(properties[1].start.get(), 0);
    EXPECT_EQ(properties[1].end.get(), 0xfff);
    EXPECT_EQ(properties[2].type.get(), 0);
    EXPECT_EQ(answer[kProbeBytes], std::byte{S_OK});
}

TEST_F(GuestIommuTest, UnknownOrShortRequestsGetNothingOrInvalid) {
    std::array<std::byte, kMostAnswer> answer{};
    for (unsigned type = 0; type < 256; ++type) {
        const std::array request{static_cast<std::byte>(type), std::byte{}, std::byte{}, std::byte{}};
        const bool known = type >= T_ATTACH && type <= T_PROBE;
        const std::size_t size = iommu.serve(request, answer, 0);
        ASSERT_EQ(size, known ? sizeof(Tail) : 0) << type;
        if (known) {
            ASSERT_EQ(answer[0], std::byte{S_INVAL});
        }
    }
    EXPECT_EQ(iommu.serve({}, answer, 0), 0);
    const Attach request{.head = {T_ATTACH}, .domain = 1, .endpoint = kNic};
    EXPECT_EQ(iommu.serve(std::as_bytes(std::span{&request, 1}), {}, 0), 0);
    EXPECT_EQ(iommu.domains(), 0);
}

TEST_F(GuestIommuTest, WhatTheHostDidNotTakeBackIsReportedAsLost) {
    ASSERT_EQ(attach(1, kNic), S_OK);
    ASSERT_EQ(map(1, 0x10000, 0x10fff, 0x4000), S_OK);
    nic.fail_unmap_in_ = 1;

    EXPECT_EQ(unmap(1, 0x10000, 0x10fff), S_IOERR);
    EXPECT_TRUE(notes.is_lost);
}

/// A guest that sends anything: memory stays bounded, and what is mapped is what was answered OK.
TEST_F(GuestIommuTest, MillionHostileRequestsMapNothingThatWasNotGranted) {
    std::mt19937_64 random{20261125};
    const auto pick = [&](auto... values) {
        const std::array all{static_cast<std::uint64_t>(values)...};
        return all[random() % all.size()];
    };
    std::map<std::uint32_t, std::map<std::uint64_t, std::uint64_t>> granted;  // by domain: start, size
    std::map<std::uint32_t, std::uint32_t> where;
    const auto leave = [&](std::uint32_t endpoint) {
        const auto at = where.find(endpoint);
        if (at == where.end()) return;
        const std::uint32_t domain = at->second;
        where.erase(at);
        if (std::ranges::none_of(where, [&](const auto& w) { return w.second == domain; }))
            granted.erase(domain);
    };
    for (int step = 0; step < 1'000'000; ++step) {
        const auto domain = static_cast<std::uint32_t>(pick(0, 1, 2, 0xffffffff));
        const auto endpoint = static_cast<std::uint32_t>(pick(kNic, kDisk, 0x28));
        const std::uint64_t start =
            pick(0, 0x1000, 0x5000, 0xfedff000, 0xfee00000, ~0ULL - 0xfff, 0x800) + (random() % 8 << 12);
        const std::uint64_t end = pick(start, start + 0xfff, start + 0x3fff, ~0ULL, start - 1);
        switch (random() % 12) {
            case 0:
                if (attach(domain, endpoint) == S_OK &&
                    !(where.contains(endpoint) && where[endpoint] == domain)) {
                    leave(endpoint);
                    where[endpoint] = domain;
                    granted[domain];
                }
                break;
            case 1:
                if (detach(domain, endpoint) == S_OK) leave(endpoint);
                break;
            case 2:
            case 3:
            case 4:
            case 5:
            case 6:
                if (map(domain, start, end, pick(0, 0x7000, kRam - 0x1000, kRam, ~0ULL - 0xfff),
                        static_cast<std::uint32_t>(pick(1, 2, 3, 3, 0, 8))) == S_OK) {
                    granted.at(domain)[start] = end - start + 1;
                }
                break;
            default:
                if (unmap(domain, start, end) == S_OK) {
                    std::erase_if(granted.at(domain),
                                  [&](const auto& m) { return m.first >= start && m.first <= end; });
                }
        }
        ASSERT_LE(iommu.domains(), 2);
        if (step % 16 != 0) continue;
        for (auto& [id, space] : std::map<std::uint32_t, FakeSpace*>{{kNic, &nic}, {kDisk, &disk}}) {
            std::map<std::uint64_t, std::uint64_t> found;
            for (const auto& [at, entry] : space->entries_) found[at] = entry.size;
            ASSERT_EQ(found, where.contains(id) ? granted.at(where[id]) : decltype(found){}) << step;
        }
    }
    iommu.reset();
    EXPECT_TRUE(nothing_mapped());
    EXPECT_GT(notes.grants, 10'000);
}

}  // namespace
}  // namespace holdfast::iommu::virtio
