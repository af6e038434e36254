// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/signature.hpp"

#include <gtest/gtest.h>

#include "tests/unit/attest/fake_tpm.hpp"

namespace holdfast::attest {
namespace {

using test::Buffer;
using test::FakeTpm;

TEST(PublicKey, IsTheSameFromEachOfItsForms) {
    for (const FakeTpm::Key kind : {FakeTpm::Key::Rsa2048, FakeTpm::Key::P256, FakeTpm::Key::P384}) {
        const FakeTpm tpm{kind};
        const auto from_area = tpm::parse_public(tpm.public_area());
        const auto from_spki = PublicKey::from_spki(tpm.spki());
        ASSERT_TRUE(from_area && from_spki);
        EXPECT_TRUE(from_area->key == *from_spki);
        EXPECT_FALSE(from_area->key == *PublicKey::from_spki(FakeTpm{kind}.spki()));
        const PublicKey copy = *from_spki;
        EXPECT_EQ(copy.spki(), tpm.spki());
    }
}

TEST(PublicKey, OfWhatIsNoneIsRefused) {
    EXPECT_FALSE(PublicKey::from_spki(test::bytes("0 not a key")));
    Buffer trailing = FakeTpm{FakeTpm::Key::P256}.spki();
    trailing.push_back({});
    EXPECT_FALSE(PublicKey::from_spki(trailing));
    EXPECT_FALSE(PublicKey::ec(KeyKind::P256, Buffer(32, std::byte{1}), Buffer(32, std::byte{1})));
    EXPECT_FALSE(PublicKey::ec(KeyKind::P256, Buffer(33, std::byte{1}), Buffer(32, std::byte{1})));
    EXPECT_FALSE(PublicKey::rsa(Buffer(64, std::byte{0xff}), 65537));
    EXPECT_FALSE(PublicKey::rsa(Buffer(4096, std::byte{0xff}), 65537));
    EXPECT_FALSE(PublicKey::rsa({}, 65537));
}

TEST(Signature, ThatDoesNotFitTheKeyIsRefused) {
    const FakeTpm tpm{FakeTpm::Key::P256};
    const auto key = PublicKey::from_spki(tpm.spki());
    const Buffer message = test::bytes("message");
    const Buffer wire = tpm.sign(message);
    const auto parsed = tpm::parse_signature(wire);
    Signature signature{
        .scheme = Scheme::Ecdsa, .hash = HashAlg::Sha256, .first = parsed->first, .second = parsed->second};
    ASSERT_TRUE(verify(*key, signature, message));
    EXPECT_FALSE(verify(*key, signature, test::bytes("massage")));
    EXPECT_FALSE(verify(*PublicKey::from_spki(FakeTpm{FakeTpm::Key::P256}.spki()), signature, message));
    std::swap(signature.first, signature.second);
    EXPECT_FALSE(verify(*key, signature, message));
    const Buffer zero(32);
    const Buffer huge(4096, std::byte{0xff});
    for (const auto& [r, s] : {std::pair{&zero, &zero}, std::pair{&huge, &huge}}) {
        signature.first = *r;
        signature.second = *s;
        EXPECT_FALSE(verify(*key, signature, message));
    }
    signature.scheme = Scheme::RsaPkcs1;
    EXPECT_FALSE(verify(*key, signature, message));
    EXPECT_FALSE(verify(*key, {}, message));
}

}  // namespace
}  // namespace holdfast::attest
