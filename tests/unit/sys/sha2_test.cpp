// SPDX-License-Identifier: Apache-2.0
// The examples of FIPS 180-4 and of the NIST test vectors for SHA-2.
#include "sys/sha2.hpp"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

std::string sha256_hex(std::string_view text) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span{text}));
    return hex(hash.finish());
}
std::string sha384_hex(std::string_view text) { return hex(sha384(std::as_bytes(std::span{text}))); }

TEST(Sha2, PublishedExamplesHold) {
    EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(
        sha384_hex(""),
        "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b");
    EXPECT_EQ(
        sha384_hex("abc"),
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
}

TEST(Sha2, PiecesGiveWhatTheWholeGives) {
    const std::vector<std::byte> bytes(10'000, std::byte{0x5a});
    Sha384 hash;
    for (std::size_t at = 0; at < bytes.size(); at += 37)
        hash.update(std::span{bytes}.subspan(at, std::min<std::size_t>(37, bytes.size() - at)));
    EXPECT_EQ(hash.finish(), sha384(bytes));
}

}  // namespace
}  // namespace holdfast
