// SPDX-License-Identifier: Apache-2.0
#include "vtpm/engine/command.hpp"

#include <gtest/gtest.h>

namespace holdfast::vtpm {
namespace {

TEST(TpmCommand, BareResponseHasAHeadAndNothingElse) {
    const auto response = bare_response(tpm::RC_FAILURE);
    const CommandHead head = head_of(response);
    EXPECT_EQ(head.tag, tpm::ST_NO_SESSIONS);
    EXPECT_EQ(head.size, 10U);
    EXPECT_EQ(head.code, 0x101U);
}

TEST(TpmCommand, WritersAreKnown) {
    for (const std::uint32_t code : {0x120U, 0x12aU, 0x137U, 0x134U, 0x136U})
        EXPECT_TRUE(always_stores(code));
    for (const std::uint32_t code : {0x182U, 0x17bU, 0x17eU, 0x158U, 0x153U})
        EXPECT_FALSE(always_stores(code));
}

}  // namespace
}  // namespace holdfast::vtpm
