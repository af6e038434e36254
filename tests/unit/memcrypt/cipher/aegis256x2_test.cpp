// SPDX-License-Identifier: Apache-2.0
// Vectors: draft-irtf-cfrg-aegis-aead-18, A.1 and A.6. (Earlier editions print another ciphertext in A.6.3,
// which belongs to another message.)
#include "memcrypt/cipher/aegis256x2_kernel.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "aegis_reference.hpp"
#include "flags.hpp"
#include "memcrypt/cipher/cpu.hpp"

namespace holdfast::memcrypt {
namespace {

using reference::Octets;

Octets hex(std::string_view text) {
    Octets out;
    for (std::size_t i = 0; i < text.size(); i += 2)
        out.push_back(static_cast<std::uint8_t>(std::stoul(std::string{text.substr(i, 2)}, nullptr, 16)));
    return out;
}
std::string hex(std::span<const std::uint8_t> octets) {
    std::string out;
    for (const std::uint8_t octet : octets) {
        out += "0123456789abcdef"[octet >> 4U];
        out += "0123456789abcdef"[octet & 15U];
    }
    return out;
}
template <typename T>
auto* bytes(T& octets) {
    if constexpr (std::is_const_v<T>) return std::as_bytes(std::span{octets}).data();
    else return std::as_writable_bytes(std::span{octets}).data();
}
Octets random_octets(std::size_t size) {
    static std::mt19937 random{1};
    Octets out(size);
    std::ranges::generate(out, [&] { return static_cast<std::uint8_t>(random()); });
    return out;
}

const Octets kKey = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const Octets kNonce = hex("101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f");
const Octets kContext = hex("0102030401020304");
const Octets kMessage = [] {
    Octets out;
    for (int i = 0; i < 30; ++i) out.insert(out.end(), {4, 5, 6, 7});
    return out;
}();
constexpr std::string_view kCiphertext = "72120c2ea8236180d67859001f4729077b7064c414384fe3a7b52f1571f4f8a7"
                                         "d0f01e18db4f3bc0adb150702e5d147a8d36522132761b994c1bd395589e2ccf"
                                         "0790dfe2a3d12d61cd666b2859827739db4037dd3124c78424459376f6cac08e"
                                         "1a7223a2a43e398ce6385cd654a19f481cba3b8f25910b42";
constexpr std::string_view kTag = "635d391828520bf1512763f0c8f5cdbd";
constexpr std::string_view kTagOfNothing = "62cdbab084c83dacdb945bb446f049c8";

TEST(AegisReference, GivesTheDraftsVectors) {
    reference::Block in{};
    reference::Block key{};
    std::ranges::copy(hex("000102030405060708090a0b0c0d0e0f"), in.begin());
    std::ranges::copy(hex("101112131415161718191a1b1c1d1e1f"), key.begin());
    EXPECT_EQ(hex(reference::aes_round(in, key)), "7a7b4e5638782546a8c0477a3b813f43");

    const reference::State state = reference::initial_state(kKey, kNonce);
    EXPECT_EQ(hex(state[0][0]), "eca2bf4538442e8712d4972595744039");
    EXPECT_EQ(hex(state[0][1]), "201405efa9264f07911db58101903087");
    EXPECT_EQ(hex(state[5][0]), "9f76560dcae1efacabdcce446ae283bc");
    EXPECT_EQ(hex(state[5][1]), "bd52a6b9c8f976a26ec1409df19e8bfe");

    EXPECT_EQ(hex(reference::encrypt(kKey, kNonce, {}, {}).tag), kTagOfNothing);
    const reference::Sealed sealed = reference::encrypt(kKey, kNonce, kContext, kMessage);
    EXPECT_EQ(hex(sealed.text), kCiphertext);
    EXPECT_EQ(hex(sealed.tag), kTag);
}

struct Case {
    const char* name;
    const aegis::Kernel* kernel;
    bool CpuFeatures::* needs;
};

class AegisTest : public ::testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        if (!(this_cpu().*GetParam().needs)) GTEST_SKIP() << skip_without(GetParam().needs);
    }
    /// The parameters of a call; pads the context, and keeps it for the call.
    aegis::Parameters parameters(const Octets& key, const Octets& nonce, const Octets& context) {
        context_ = context;
        context_.resize((context.size() + aegis::kBlock - 1) / aegis::kBlock * aegis::kBlock);
        return {bytes(key), bytes(nonce), bytes(context_), context.size()};
    }
    reference::Sealed seal(const Octets& key, const Octets& nonce, const Octets& context, Octets text) {
        const std::size_t size = text.size();
        text.resize((size + aegis::kBlock - 1) / aegis::kBlock * aegis::kBlock);
        reference::Sealed out;
        GetParam().kernel->seal(parameters(key, nonce, context), bytes(text), size, bytes(out.tag));
        text.resize(size);
        out.text = std::move(text);
        return out;
    }

private:
    Octets context_;
};

TEST_P(AegisTest, GivesTheDraftsVectors) {
    EXPECT_EQ(hex(seal(kKey, kNonce, {}, {}).tag), kTagOfNothing);
    const reference::Sealed sealed = seal(kKey, kNonce, kContext, kMessage);
    EXPECT_EQ(hex(sealed.text), kCiphertext);
    EXPECT_EQ(hex(sealed.tag), kTag);
}

TEST_P(AegisTest, AgreesWithTheReferenceOnRandomPages) {
    for (const std::size_t context_size : {0U, 31U, 32U, 40U, 64U}) {
        const Octets key = random_octets(32);
        const Octets nonce = random_octets(32);
        const Octets context = random_octets(context_size);
        const Octets message = random_octets(4096);
        const reference::Sealed expected = reference::encrypt(key, nonce, context, message);

        const reference::Sealed sealed = seal(key, nonce, context, message);
        EXPECT_EQ(sealed.text, expected.text);
        EXPECT_EQ(sealed.tag, expected.tag);

        Octets plain(4096);
        reference::Block tag{};
        GetParam().kernel->open(parameters(key, nonce, context), bytes(sealed.text), bytes(plain),
                                plain.size(), bytes(tag));
        EXPECT_EQ(plain, message);
        EXPECT_EQ(tag, expected.tag);
    }
}

INSTANTIATE_TEST_SUITE_P(Each, AegisTest,
                         ::testing::Values(Case{"Vaes", &aegis::kVaes, &CpuFeatures::vaes_avx2},
                                           Case{"AesNi", &aegis::kAesNi, &CpuFeatures::aes}),
                         [](const auto& test) { return std::string{test.param.name}; });

}  // namespace
}  // namespace holdfast::memcrypt
