// SPDX-License-Identifier: Apache-2.0
#include "sys/mapping.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace holdfast {
namespace {

/// The kernel's flags of the mapping that starts at `start`: two letters each (proc_pid_smaps(5), VmFlags).
std::string kernel_flags(std::uintptr_t start) {
    std::ifstream maps{"/proc/self/smaps"};
    bool ours = false;
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t low = 0;
        const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), low, 16);
        if (error == std::errc{} && *end == '-') ours = low == start;
        if (ours && line.starts_with("VmFlags:")) return line;
    }
    return {};
}

TEST(Mapping, HugeStartsOnAHugePageAndAsksForThem) {
    if (::access("/sys/kernel/mm/transparent_hugepage", F_OK) != 0) {
        GTEST_SKIP() << "skip: no /sys/kernel/mm/transparent_hugepage";
    }
    const auto mapping = Mapping::huge(5 << 20);
    ASSERT_TRUE(mapping.has_value());
    // SAFETY: an address as a number, for the comparison.
    const auto start = reinterpret_cast<std::uintptr_t>(mapping->data());
    EXPECT_EQ(start % Mapping::kHugePage, 0U);
    EXPECT_NE(kernel_flags(start).find(" hg"), std::string::npos) << kernel_flags(start);
}

TEST(Mapping, HugeIsZeroedAndAsLargeAsAsked) {
    const auto mapping = Mapping::huge(4096 * 3);
    ASSERT_TRUE(mapping.has_value());
    ASSERT_EQ(mapping->size(), 4096U * 3);
    EXPECT_TRUE(std::ranges::all_of(mapping->bytes(), [](std::byte byte) { return byte == std::byte{0}; }));
    mapping->bytes().back() = std::byte{1};
}

}  // namespace
}  // namespace holdfast
