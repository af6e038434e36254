// SPDX-License-Identifier: Apache-2.0
#include "vtpm/state/seal.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <gtest/gtest.h>
#include <openssl/evp.h>

namespace holdfast::vtpm {
namespace {

Identity identity(unsigned char id, const char* name) {
    Identity made;
    made.id.fill(static_cast<std::byte>(id));
    made.name = name;
    return made;
}

SecretBytes host_key(unsigned char fill = 0x0b) {
    auto key = SecretBytes::create(kStateKeyBytes);
    std::ranges::fill(key->bytes(), static_cast<std::byte>(fill));
    return std::move(*key);
}

Sealer sealer(const Identity& who, const SecretBytes& key) {
    auto derived = derive_state_key(key, who);
    return Sealer{std::move(*derived), who};
}

const std::vector<std::byte> kPlain(3000, std::byte{0x5a});

TEST(Seal, WhatWasSealedOpensWithItsVersion) {
    const auto key = host_key();
    const Sealer box = sealer(identity(1, "box"), key);
    const auto sealed = box.seal(SealedType::Permanent, 42, kPlain);
    ASSERT_TRUE(sealed);
    const auto opened = box.open(SealedType::Permanent, *sealed);
    ASSERT_TRUE(opened);
    EXPECT_EQ(opened->version, 42U);
    EXPECT_TRUE(std::ranges::equal(opened->plain.bytes(), kPlain));
    EXPECT_EQ(std::ranges::search(*sealed, std::span{kPlain}.first(16)).begin(), sealed->end());
}

TEST(Seal, EqualStatesNeverLookEqual) {
    const auto key = host_key();
    const Sealer box = sealer(identity(1, "box"), key);
    EXPECT_NE(*box.seal(SealedType::Permanent, 1, kPlain), *box.seal(SealedType::Permanent, 1, kPlain));
}

TEST(Seal, AnotherIdNameKeyOrTypeDoesNotOpenIt) {
    const auto key = host_key();
    const auto other_key = host_key(0x0c);
    const auto sealed = sealer(identity(1, "box"), key).seal(SealedType::Permanent, 1, kPlain);
    EXPECT_FALSE(sealer(identity(2, "box"), key).open(SealedType::Permanent, *sealed));
    EXPECT_FALSE(sealer(identity(1, "bix"), key).open(SealedType::Permanent, *sealed));
    EXPECT_FALSE(sealer(identity(1, "box"), other_key).open(SealedType::Permanent, *sealed));
    EXPECT_FALSE(sealer(identity(1, "box"), key).open(SealedType::Volatile, *sealed));
}

TEST(Seal, EveryChangedBitIsNoticed) {
    const auto key = host_key();
    const Sealer box = sealer(identity(1, "box"), key);
    auto sealed = *box.seal(SealedType::Permanent, 7, std::span{kPlain}.first(50));
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        const auto mask = static_cast<std::byte>(1U << bit % 8);
        sealed[bit / 8] ^= mask;
        EXPECT_FALSE(box.open(SealedType::Permanent, sealed)) << bit;
        sealed[bit / 8] ^= mask;
    }
}

TEST(Seal, EveryLengthButItsOwnIsRefused) {
    const auto key = host_key();
    const Sealer box = sealer(identity(1, "box"), key);
    auto sealed = *box.seal(SealedType::Permanent, 7, std::span{kPlain}.first(50));
    for (std::size_t size = 0; size < sealed.size(); ++size) {
        EXPECT_FALSE(box.open(SealedType::Permanent, std::span{sealed}.first(size))) << size;
    }
    sealed.push_back(std::byte{0});
    EXPECT_FALSE(box.open(SealedType::Permanent, sealed));
}

TEST(Seal, StateThatIsTooLargeIsRefused) {
    const auto key = host_key();
    const Sealer box = sealer(identity(1, "box"), key);
    EXPECT_FALSE(box.seal(SealedType::Permanent, 1, std::vector<std::byte>(kMaxSealed)));
}

// openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:0b..0b (32 bytes)
//   -kdfopt hexinfo:15000000 "holdfast vtpm state 1" 10000000 01..01 03000000 "box" HKDF
TEST(Seal, KeyIsWhatOpensslDerives) {
    const auto key = derive_state_key(host_key(), identity(1, "box"));
    ASSERT_TRUE(key);
    constexpr unsigned char kExpected[32] = {0xa5, 0xdd, 0xa1, 0xe2, 0xc1, 0x45, 0x0d, 0xa4, 0xd9, 0xdc, 0xea,
                                             0xda, 0x9b, 0x12, 0xd4, 0xa5, 0x4e, 0x29, 0xfe, 0x77, 0x4d, 0xee,
                                             0xd4, 0x72, 0xfd, 0x01, 0xad, 0xc8, 0xae, 0x09, 0x1d, 0xe1};
    EXPECT_EQ(std::memcmp(key->bytes().data(), kExpected, sizeof kExpected), 0);
}

// By OpenSSL's providers, which seal() goes around: a state of any version opens with any.
TEST(Seal, IsAes256GcmAsOpensslHasIt) {
    const auto key = derive_state_key(host_key(), identity(1, "box"));
    const auto sealed = *sealer(identity(1, "box"), host_key()).seal(SealedType::Permanent, 42, kPlain);
    constexpr std::size_t kHead = 28;
    constexpr std::size_t kNonceAt = 16;
    constexpr std::size_t kTag = 16;
    ASSERT_EQ(sealed.size(), kHead + kPlain.size() + kTag);
    std::vector<unsigned char> bytes(sealed.size());
    std::memcpy(bytes.data(), sealed.data(), sealed.size());
    std::vector<unsigned char> associated{16, 0, 0, 0};
    associated.insert(associated.end(), 16, 1);
    constexpr unsigned char kRest[] = {3, 0, 0, 0, 'b', 'o', 'x', kHead, 0, 0, 0};
    associated.insert(associated.end(), std::begin(kRest), std::end(kRest));
    associated.insert(associated.end(), bytes.begin(), bytes.begin() + kHead);

    EVP_CIPHER* const gcm = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
    EVP_CIPHER_CTX* const context = EVP_CIPHER_CTX_new();
    std::vector<unsigned char> plain(kPlain.size());
    std::array<unsigned char, 32> raw_key{};
    std::memcpy(raw_key.data(), key->bytes().data(), raw_key.size());
    int length = 0;
    EXPECT_EQ(EVP_DecryptInit_ex(context, gcm, nullptr, raw_key.data(), bytes.data() + kNonceAt), 1);
    EXPECT_EQ(
        EVP_DecryptUpdate(context, nullptr, &length, associated.data(), static_cast<int>(associated.size())),
        1);
    EXPECT_EQ(EVP_DecryptUpdate(context, plain.data(), &length, bytes.data() + kHead,
                                static_cast<int>(plain.size())),
              1);
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, kTag, bytes.data() + kHead + plain.size()),
              1);
    EXPECT_EQ(EVP_DecryptFinal_ex(context, nullptr, &length), 1);
    EXPECT_EQ(std::memcmp(plain.data(), kPlain.data(), plain.size()), 0);
    EVP_CIPHER_CTX_free(context);
    EVP_CIPHER_free(gcm);
}

}  // namespace
}  // namespace holdfast::vtpm
