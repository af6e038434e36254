// SPDX-License-Identifier: Apache-2.0
// The pieces against the vectors of their specifications.
#include "guest_agent/crypto/hpke.hpp"

#include <gtest/gtest.h>
#include <algorithm>

#include "attest/text/encoding.hpp"
#include "guest_agent/crypto/aead.hpp"
#include "guest_agent/crypto/kdf.hpp"

namespace holdfast::agent {
namespace {

std::vector<std::byte> raw_of(std::string_view hex) { return *attest::bytes_of_hex(hex); }
std::vector<std::byte> words(std::string_view words) { return {text(words).begin(), text(words).end()}; }

template <typename T>
T fixed(std::string_view hex) {
    T out{};
    const auto bytes = raw_of(hex);
    std::ranges::copy(bytes, out.begin());
    return out;
}

Key key_of(std::string_view hex) {
    Key key;
    const auto bytes = raw_of(hex);
    std::ranges::copy(bytes, key.bytes().begin());
    return key;
}

TEST(Hmac, IsThatOfRfc4231) {
    EXPECT_EQ(hex(hmac(words("Jefe"), {text("what do ya want "), text("for nothing?")})),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    EXPECT_EQ(hex(hmac(std::vector<std::byte>(131, std::byte{0xaa}),
                       {text("Test Using Larger Than Block-Size Key - Hash Key First")})),
              "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(Hkdf, IsThatOfRfc5869) {
    const Key prk =
        hkdf_extract(raw_of("000102030405060708090a0b0c"), {std::vector<std::byte>(22, std::byte{0x0b})});
    EXPECT_EQ(hex(prk.bytes()), "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    std::vector<std::byte> out(42);
    hkdf_expand(prk, {raw_of("f0f1f2f3f4f5f6f7f8f9")}, out);
    EXPECT_EQ(hex(out),
              "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST(HashParts, BordersBetweenPartsCount) {
    EXPECT_NE(hash_parts({text("ab"), text("c")}), hash_parts({text("a"), text("bc")}));
    EXPECT_NE(hash_parts({text("abc")}), hash_parts({text("abc"), Bytes{}}));
}

// §5.2: k and u are 9; then k is the result and u the k before.
TEST(Agreement, IsThatOfRfc7748) {
    const PublicBytes nine = fixed<PublicBytes>("09" + std::string(62, '0'));
    Key k;
    std::ranges::copy(nine, k.bytes().begin());
    PublicBytes u = nine;
    for (int round = 1; round <= 1000; ++round) {
        Key result = *agree(k, u);
        std::ranges::copy(k.bytes(), u.begin());
        k = std::move(result);
        if (round == 1) {
            EXPECT_EQ(hex(k.bytes()), "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
        }
    }
    EXPECT_EQ(hex(k.bytes()), "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST(Agreement, PointOfSmallOrderIsRefused) {
    const AgreementKey ours = *make_agreement_key();
    EXPECT_FALSE(agree(ours.secret, PublicBytes{}));
    EXPECT_FALSE(agree(ours.secret, fixed<PublicBytes>("01" + std::string(62, '0'))));
}

// §7.1, TEST 1, and what must not pass for it.
TEST(Signing, IsThatOfRfc8032) {
    const Key secret = key_of("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    const auto key = fixed<PublicBytes>("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    const std::vector<std::byte> signature = raw_of("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065"
                                                    "224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0"
                                                    "595bbe24655141438e7a100b");
    EXPECT_TRUE(std::ranges::equal(*sign(secret, {}), signature));
    EXPECT_TRUE(is_signed(key, {}, signature));
    EXPECT_FALSE(is_signed(key, text("x"), signature));
    EXPECT_FALSE(is_signed(key, {}, Bytes{signature}.first(63)));
    EXPECT_FALSE(is_signed(PublicBytes{}, {}, signature));
}

TEST(Aead, AnyBitThatIsChangedIsNoticedAndNothingComesOut) {
    Aead aead = *Aead::create(random_key());
    const auto plain = words("plain");
    std::vector<std::byte> sealed(plain.size() + kTagBytes);
    ASSERT_TRUE(aead.seal({}, text("about"), plain, sealed));
    std::vector<std::byte> opened(plain.size());
    ASSERT_TRUE(aead.open({}, text("about"), sealed, opened));
    EXPECT_EQ(opened, plain);
    EXPECT_FALSE(aead.open({}, text("other"), sealed, opened));
    EXPECT_EQ(opened, std::vector<std::byte>(plain.size()));
    EXPECT_FALSE(aead.open({std::byte{1}}, text("about"), sealed, opened));
    EXPECT_FALSE(aead.open({}, text("about"), Bytes{sealed}.first(15), opened));
    for (std::size_t bit = 0; bit < sealed.size() * 8; ++bit) {
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
        EXPECT_FALSE(aead.open({}, text("about"), sealed, opened)) << bit;
        sealed[bit / 8] ^= std::byte{1} << (bit % 8);
    }
}

// The vector for DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM in mode base that RFC 9180 publishes
// (its test-vectors.json): info, skRm, pkRm, enc. The private key of enc and the ciphertext are those of a
// second implementation, in Python, that reaches Go's digest of 1000 ciphertexts for this vector
// (crypto/hpke/testdata/rfc9180.json, encryptions_accumulated 1702e73e...).
struct Vector {
    std::vector<std::byte> info = raw_of("4f6465206f6e2061204772656369616e2055726e");
    AgreementKey recipient{
        .secret = key_of("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d"),
        .shared = fixed<PublicBytes>("430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c")};
    std::vector<std::byte> associated = words("Count-0");
    std::vector<std::byte> plain = words("Beauty is truth, truth beauty");
    std::vector<std::byte> sealed =
        raw_of("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256"
               "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a");
};

TEST(Hpke, IsThatOfRfc9180) {
    const Vector vector;
    EXPECT_EQ(*agreement_public(vector.recipient.secret), vector.recipient.shared);
    AgreementKey ephemeral{
        .secret = key_of("179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11"), .shared = {}};
    ephemeral.shared = *agreement_public(ephemeral.secret);
    EXPECT_EQ(
        *hpke::seal_with(ephemeral, vector.recipient.shared, vector.info, vector.associated, vector.plain),
        vector.sealed);
    const auto opened = hpke::open(vector.recipient, vector.info, vector.associated, vector.sealed);
    EXPECT_TRUE(std::ranges::equal(opened.value().bytes(), vector.plain));
}

TEST(Hpke, OpensForItsKeyInfoAndAssociatedDataOnly) {
    Vector vector;
    EXPECT_FALSE(hpke::open(*make_agreement_key(), vector.info, vector.associated, vector.sealed));
    EXPECT_FALSE(hpke::open(vector.recipient, text("other"), vector.associated, vector.sealed));
    EXPECT_FALSE(hpke::open(vector.recipient, vector.info, text("Count-1"), vector.sealed));
    for (std::size_t size = 0; size < vector.sealed.size(); ++size) {
        EXPECT_FALSE(
            hpke::open(vector.recipient, vector.info, vector.associated, Bytes{vector.sealed}.first(size)));
    }
    for (std::byte& byte : vector.sealed) {
        byte ^= std::byte{0x10};
        EXPECT_FALSE(hpke::open(vector.recipient, vector.info, vector.associated, vector.sealed));
        byte ^= std::byte{0x10};
    }
}

TEST(Hpke, TwoMessagesOfTheSameHaveNothingInCommon) {
    const AgreementKey key = *make_agreement_key();
    EXPECT_NE(*hpke::seal(key.shared, {}, {}, text("same")), *hpke::seal(key.shared, {}, {}, text("same")));
}

TEST(Keys, ThatWereMovedFromAreZeros) {
    Key key = random_key();
    const Key other = std::move(key);
    // NOLINTNEXTLINE(bugprone-use-after-move): that is what is promised.
    EXPECT_TRUE(std::ranges::all_of(key.bytes(), [](std::byte byte) { return byte == std::byte{}; }));
    EXPECT_FALSE(std::ranges::all_of(other.bytes(), [](std::byte byte) { return byte == std::byte{}; }));
}

}  // namespace
}  // namespace holdfast::agent
