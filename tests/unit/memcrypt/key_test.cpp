// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/key.hpp"

#include <algorithm>
#include <array>

#include <gtest/gtest.h>

namespace holdfast::memcrypt {
namespace {

TEST(SecretKey, EachIsAnother) {
    const auto one = SecretKey::random();
    const auto two = SecretKey::random();
    ASSERT_TRUE(one && two);
    EXPECT_FALSE(std::ranges::equal(one->bytes(), two->bytes()));
}

TEST(SecretKey, RenewedInPlaceIsAnother) {
    auto key = SecretKey::random();
    ASSERT_TRUE(key);
    std::array<std::byte, kKeyBytes> before{};
    std::ranges::copy(key->bytes(), before.begin());
    const std::byte* const where = key->bytes().data();
    ASSERT_TRUE(key->renew());
    EXPECT_FALSE(std::ranges::equal(key->bytes(), before));
    EXPECT_EQ(key->bytes().data(), where);
}

}  // namespace
}  // namespace holdfast::memcrypt
