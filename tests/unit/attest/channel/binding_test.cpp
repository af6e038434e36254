// SPDX-License-Identifier: Apache-2.0
#include "attest/channel/binding.hpp"

#include <gtest/gtest.h>
#include <set>
#include <vector>

namespace holdfast::attest {
namespace {

std::vector<std::byte> text(std::string_view bytes) {
    const auto raw = std::as_bytes(std::span{bytes});
    return {raw.begin(), raw.end()};
}

std::vector<std::byte> counting(std::size_t size) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i);
    return bytes;
}

/// Owns what a binding borrows.
struct Parts {
    ChannelRole role = ChannelRole::Client;
    std::vector<std::byte> nonce = counting(32);
    std::vector<std::byte> exporter = std::vector<std::byte>(32, std::byte{0xee});
    std::vector<std::byte> own = text("agent");
    std::vector<std::byte> peer = text("broker");
    std::vector<std::byte> context;
    [[nodiscard]] Result<Digest256> digest() const {
        return channel_binding({.role = role,
                                .nonce = nonce,
                                .exporter = exporter,
                                .own_key = own,
                                .peer_key = peer,
                                .context = context});
    }
};

// The outside oracle is Python's hashlib, with h = SHA-256:
// h(b"holdfast channel binding 1\0" + bytes([role]) + h(nonce) + exporter + h(own) + h(peer) + h(context))
TEST(ChannelBinding, IsWhatPythonComputes) {
    EXPECT_EQ(hex(*Parts{}.digest()), "53a1fb4f482e3a0f4e6a1dfff05436a777d7e3544da6c43611c3e8b7ced8724d");
    const Parts other{.role = ChannelRole::Server,
                      .nonce = counting(16),
                      .exporter = std::vector<std::byte>(32),
                      .own = std::vector<std::byte>(91, std::byte{'a'}),
                      .peer = std::vector<std::byte>(91, std::byte{'b'}),
                      .context = text("group 7")};
    EXPECT_EQ(hex(*other.digest()), "d73e11e78e0345690810565431c80050d3fc40c88862f9b57ba5f8932c5098c7");
}

TEST(ChannelBinding, EveryPartChangesIt) {
    std::vector<Parts> all(9);
    all[1].role = ChannelRole::Server;
    all[2].nonce[31] ^= std::byte{1};
    all[3].exporter[0] ^= std::byte{1};
    all[4].own[0] ^= std::byte{1};
    all[5].peer[0] ^= std::byte{1};
    all[6].context = text("x");
    std::swap(all[7].own, all[7].peer);
    all[8].nonce.pop_back();
    std::set<Digest256> digests;
    for (const Parts& parts : all) digests.insert(parts.digest().value());
    EXPECT_EQ(digests.size(), all.size());
}

TEST(ChannelBinding, PartThatIsMissingOrOfAnotherSizeIsRefused) {
    std::vector<Parts> all(8);
    all[0].nonce.resize(15);
    all[1].nonce.resize(65);
    all[2].exporter.clear();
    all[3].exporter.resize(31);
    all[4].exporter.resize(33);
    all[5].own.clear();
    all[6].peer.clear();
    all[7].own.resize(1025);
    for (const Parts& parts : all) EXPECT_FALSE(parts.digest());
    const auto role = Parts{.role = static_cast<ChannelRole>(3)}.digest();
    EXPECT_FALSE(role);
}

}  // namespace
}  // namespace holdfast::attest
