// SPDX-License-Identifier: Apache-2.0
#include "sys/secret.hpp"

#include <array>
#include <fstream>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace holdfast {
namespace {

struct Area {
    std::string protection;  ///< "rw-p"
    std::string flags;       ///< " rd wr mr "
};

/// What /proc/self/smaps (proc_pid_smaps(5)) says about the mapping that holds `address`.
Area area_of(const std::byte* address) {
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    std::ifstream smaps{"/proc/self/smaps"};
    std::string line;
    Area area;
    while (std::getline(smaps, line)) {
        std::uintptr_t from = 0;
        std::uintptr_t to = 0;
        char dash = 0;
        std::string protection;
        if (std::istringstream{line} >> std::hex >> from >> dash >> to >> protection && dash == '-')
            area.protection = from <= wanted && wanted < to ? protection : "";
        if (!area.protection.empty() && line.starts_with("VmFlags:")) {
            area.flags = line.substr(8) + " ";
            return area;
        }
    }
    return {};
}

TEST(SecretBytes, AreLockedAndOutOfDumpsAndChildren) {
    const auto secret = SecretBytes::create(32);
    ASSERT_TRUE(secret.has_value());
    const std::string flags = area_of(secret->bytes().data()).flags;
    EXPECT_NE(flags.find(" lo "), std::string::npos) << flags;
    EXPECT_NE(flags.find(" dd "), std::string::npos) << flags;
    EXPECT_NE(flags.find(" dc "), std::string::npos) << flags;
}

TEST(SecretBytes, CannotBeReadThroughProc) {
    const UniqueFd kernel_has_it{static_cast<int>(::syscall(SYS_memfd_secret, O_CLOEXEC))};
    if (!kernel_has_it) GTEST_SKIP() << "skip: no memfd_secret";
    const auto secret = SecretBytes::create(32);
    ASSERT_TRUE(secret.has_value());
    const UniqueFd memory{::open("/proc/self/mem", O_RDONLY | O_CLOEXEC)};
    ASSERT_TRUE(static_cast<bool>(memory));
    std::array<std::byte, 32> out{};
    const auto at = reinterpret_cast<std::uintptr_t>(secret->bytes().data());
    EXPECT_LT(::pread(memory.get(), out.data(), out.size(), static_cast<off_t>(at)), 0);
}

TEST(SecretBytes, BeginAsZerosAndKeepWhatIsWritten) {
    auto secret = SecretBytes::create(5000);
    ASSERT_TRUE(secret.has_value());
    ASSERT_EQ(secret->bytes().size(), 5000U);
    for (const std::byte byte : secret->bytes()) ASSERT_EQ(byte, std::byte{0});
    secret->bytes().back() = std::byte{7};
    const SecretBytes moved{std::move(*secret)};
    EXPECT_EQ(moved.bytes().back(), std::byte{7});
    EXPECT_TRUE(secret->bytes().empty());  // NOLINT(bugprone-use-after-move): that is the point
}

TEST(SecretBytes, LieBetweenPagesThatCannotBeTouched) {
    const auto secret = SecretBytes::create(4096);
    ASSERT_TRUE(secret.has_value());
    const std::byte* const at = secret->bytes().data();
    EXPECT_EQ(area_of(at).protection.substr(0, 3), "rw-");
    EXPECT_EQ(area_of(at - 1).protection, "---p");
    EXPECT_EQ(area_of(at + 4096).protection, "---p");
}

TEST(Secret, IsAStructInSecretBytes) {
    struct Pair {
        alignas(64) std::array<std::byte, 32> key;
        std::uint64_t number;
    };
    auto secret = Secret<Pair>::create();
    ASSERT_TRUE(secret.has_value());
    EXPECT_EQ((*secret)->number, 0U);
    (*secret)->number = 5;
    const Secret<Pair> moved{std::move(*secret)};
    EXPECT_EQ(moved->number, 5U);
    EXPECT_NE(area_of(std::as_bytes(std::span{&*moved, 1}).data()).flags.find(" lo "), std::string::npos);
}

}  // namespace
}  // namespace holdfast
