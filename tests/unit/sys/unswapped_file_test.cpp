// SPDX-License-Identifier: Apache-2.0
#include "sys/unswapped_file.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/mapping.hpp"

namespace holdfast {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kPages = 2048;

/// What the kernel itself says: of the mapping's pages, how many it will never try to reclaim.
/// None where it does not tell (proc_pid_pagemap(5): needs CAP_SYS_ADMIN).
std::size_t unevictable(const Mapping& mapping) {
    const UniqueFd pagemap{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
    const UniqueFd flags{::open("/proc/kpageflags", O_RDONLY | O_CLOEXEC)};
    // SAFETY: an address as a number.
    const auto first = reinterpret_cast<std::uintptr_t>(mapping.data()) / kPage;
    std::size_t count = 0;
    for (std::size_t page = 0; page < kPages; ++page) {
        std::array<std::uint64_t, 1> word{};
        if (!pread_exact(pagemap, std::as_writable_bytes(std::span{word}), (first + page) * 8)) return 0;
        const std::uint64_t frame = word[0] & ((1ULL << 55) - 1);
        if (!pread_exact(flags, std::as_writable_bytes(std::span{word}), frame * 8)) return 0;
        constexpr unsigned kUnevictable = 18;  // KPF_UNEVICTABLE, linux/kernel-page-flags.h
        count += word[0] >> kUnevictable & 1;
    }
    return count;
}

/// A page waits in a list of its CPU until that is full: the last few are not judged yet.
constexpr std::size_t kNearlyAll = kPages - 256;

class UnswappedFile : public testing::Test {
protected:
    void SetUp() override {
        auto made = unswapped_file(kPages * kPage);
        if (!made)
            GTEST_SKIP() << "skip: " << made.error().what << " is not allowed here, or needs Linux 6.4";
        file = std::move(*made);
    }
    UniqueFd file;
};

TEST_F(UnswappedFile, KeepsItsPagesFromReclaim) {
    const auto mapping = Mapping::shared(file, kPages * kPage);
    ASSERT_TRUE(mapping.has_value());
    std::memset(mapping->data(), 7, mapping->size());
    EXPECT_GE(unevictable(*mapping), kNearlyAll);

    const auto plain = sealed_memfd("plain", kPages * kPage);
    const auto other = Mapping::shared(*plain, kPages * kPage);
    std::memset(other->data(), 7, other->size());
    EXPECT_EQ(unevictable(*other), 0U) << "the oracle tells nothing";
}

TEST_F(UnswappedFile, IsZeroedAndOfTheSizeAskedFor) {
    EXPECT_EQ(file_size(file).value(), kPages * kPage);
    std::vector<std::byte> all(kPages * kPage, std::byte{1});
    ASSERT_TRUE(pread_exact(file, all, 0).has_value());
    EXPECT_TRUE(std::ranges::all_of(all, [](std::byte each) { return each == std::byte{}; }));
}

TEST_F(UnswappedFile, HasNoNameAndCannotBeGivenOne) {
    struct stat status{};
    ASSERT_EQ(::fstat(file.get(), &status), 0);
    EXPECT_EQ(status.st_nlink, 0U);
    EXPECT_LT(::linkat(file.get(), "", AT_FDCWD, "/dev/shm/holdfast-test", AT_EMPTY_PATH), 0);
}

}  // namespace
}  // namespace holdfast
