// SPDX-License-Identifier: Apache-2.0
// The chain against values of an independent implementation (Python's hashlib over the layout of PAGE_INFO).
#include "memcrypt/launch_digest.hpp"

#include <array>

#include <gtest/gtest.h>

namespace holdfast::memcrypt {
namespace {

std::array<std::byte, kPageSize> page_of(int value) {
    std::array<std::byte, kPageSize> page;
    page.fill(static_cast<std::byte>(value));
    return page;
}

TEST(LaunchDigest, StartsWithZeroes) { EXPECT_EQ(LaunchDigest{}.value(), Digest384{}); }

TEST(LaunchDigest, ChainIsWhatAnotherImplementationComputes) {
    LaunchDigest digest;
    digest.add(PageType::Normal, GuestAddr{0x1000}, page_of(1));
    digest.add_unmeasured(PageType::Zero, GuestAddr{0x7000});
    digest.add(PageType::Vmsa, kVmsaAddress, page_of(2));
    EXPECT_EQ(
        hex(digest.value()),
        "7dc5f9a9027ca99fd973dfaebf0944bd2e76899d78ba784789792aa131c5d7d088350ed0149d5662d04c38184de538ef");
}

TEST(LaunchDigest, TypeAddressContentsAndOrderAllCount) {
    const auto digest_of = [](auto... steps) {
        LaunchDigest digest;
        (steps(digest), ...);
        return digest.value();
    };
    const auto add = [](PageType type, std::uint64_t at, int value) {
        return [=](LaunchDigest& digest) { digest.add(type, GuestAddr{at}, page_of(value)); };
    };
    const auto first = digest_of(add(PageType::Normal, 0x1000, 1), add(PageType::Normal, 0x2000, 2));
    EXPECT_NE(first, digest_of(add(PageType::Vmsa, 0x1000, 1), add(PageType::Normal, 0x2000, 2)));
    EXPECT_NE(first, digest_of(add(PageType::Normal, 0x3000, 1), add(PageType::Normal, 0x2000, 2)));
    EXPECT_NE(first, digest_of(add(PageType::Normal, 0x1000, 3), add(PageType::Normal, 0x2000, 2)));
    EXPECT_NE(first, digest_of(add(PageType::Normal, 0x2000, 2), add(PageType::Normal, 0x1000, 1)));
}

TEST(LaunchDigest, GoesOnFromAKnownValue) {
    LaunchDigest whole;
    whole.add(PageType::Normal, GuestAddr{0x1000}, page_of(1));
    LaunchDigest rest{whole.value()};
    whole.add(PageType::Normal, GuestAddr{0x2000}, page_of(2));
    rest.add(PageType::Normal, GuestAddr{0x2000}, page_of(2));
    EXPECT_EQ(rest.value(), whole.value());
}

}  // namespace
}  // namespace holdfast::memcrypt
