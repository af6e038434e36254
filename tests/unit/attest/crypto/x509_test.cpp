// SPDX-License-Identifier: Apache-2.0
#include "attest/crypto/x509.hpp"

#include "tests/unit/attest/fake_authority.hpp"

namespace holdfast::attest {
namespace {

using namespace test;

/// A root, an intermediate and a leaf; each test changes one thing.
class ChainTest : public ::testing::Test {
protected:
    ChainTest() { build(); }

    void build() {
        root.emplace(certificate(root_form, root_key, root_key));
        middle.emplace(certificate(middle_form, middle_key, root_key));
        leaf.emplace(certificate(leaf_form, leaf_key, middle_key));
    }
    std::optional<Chain> verify() {
        const Certificate trusted = *root;
        if (!verifier) verifier.emplace(std::move(*ChainVerifier::create(std::span{&trusted, 1})));
        const Buffer presented = leaf->der();
        const Certificate helper = *middle;
        return verifier->verify({.presented = presented,
                                 .helpers = std::span{&helper, 1},
                                 .crls = crls,
                                 .revocation = revocation,
                                 .crls_demanded = crls_demanded,
                                 .at = at},
                                findings);
    }
    void expect_refused(const std::string& why) {
        EXPECT_FALSE(verify().has_value());
        EXPECT_EQ(reasons(findings), why);
        EXPECT_FALSE(findings.is_authentic());
    }

    static inline const Key root_key = Key::rsa();
    static inline const Key middle_key = Key::rsa();
    static inline const Key leaf_key = Key::ec("P-384");
    CertificateForm root_form{.subject = "root", .is_ca = true};
    CertificateForm middle_form{.subject = "middle", .issuer = "root", .serial = 1, .is_ca = true};
    CertificateForm leaf_form{.subject = "leaf", .issuer = "middle", .serial = 7};
    std::optional<Certificate> root, middle, leaf;
    std::optional<ChainVerifier> verifier;
    std::vector<Crl> crls;
    Revocation revocation = Revocation::All;
    bool crls_demanded = false;
    std::int64_t at = kNow;
    Findings findings;
};

TEST_F(ChainTest, ChainToATrustedRootHolds) {
    const auto chain = verify();
    ASSERT_TRUE(chain.has_value());
    ASSERT_EQ(chain->size(), 3U);
    EXPECT_EQ(chain->front().subject(), "leaf");
    EXPECT_EQ(chain->back().subject(), "root");
    EXPECT_TRUE(findings.is_accepted());
    EXPECT_TRUE(findings.has(Code::CertNoCrl)) << "that nothing is known of revocation is said";
}

TEST_F(ChainTest, SerialNumberZeroIsNoFault) {
    leaf_form.serial = 0;
    build();
    EXPECT_TRUE(verify().has_value());
}

TEST_F(ChainTest, RootOfTheSameNameWithAnotherKeyIsNotTrusted) {
    const Key other = Key::rsa();
    root.emplace(certificate(root_form, other, other));
    EXPECT_FALSE(verify().has_value());
    EXPECT_FALSE(findings.is_authentic());
}

TEST_F(ChainTest, RootThatIsPresentedIsNotTrustedForIt) {
    const Certificate trusted = certificate({.subject = "other", .is_ca = true}, middle_key, middle_key);
    verifier.emplace(std::move(*ChainVerifier::create(std::span{&trusted, 1})));
    const std::vector presented{*leaf, *middle, *root};
    const std::string text = pem(presented);
    EXPECT_FALSE(
        verifier->verify({.presented = std::as_bytes(std::span{text}), .at = at}, findings).has_value());
    EXPECT_TRUE(findings.has(Code::CertUntrusted));
}

TEST_F(ChainTest, CertificateOfAnUnknownIssuerIsUntrusted) {
    leaf_form.issuer = "nobody";
    build();
    EXPECT_FALSE(verify().has_value());
    EXPECT_TRUE(findings.has(Code::CertUntrusted));
}

TEST_F(ChainTest, SignatureByAnotherKeyIsRefused) {
    leaf.emplace(certificate(leaf_form, leaf_key, root_key));
    expect_refused("cert.signature");
}

TEST_F(ChainTest, ExpiredCertificateIsRefused) {
    leaf_form.not_after = kNow - 1;
    build();
    expect_refused("cert.expired");
}

TEST_F(ChainTest, CertificateOfTheFutureIsRefused) {
    middle_form.not_before = kNow + 1;
    build();
    expect_refused("cert.not-yet-valid");
}

TEST_F(ChainTest, IssuerThatIsNoAuthorityIsRefused) {
    middle_form.is_ca = false;
    build();
    EXPECT_FALSE(verify().has_value());
    EXPECT_TRUE(findings.has(Code::CertConstraints));
}

TEST_F(ChainTest, RevokedIntermediateIsRefused) {
    crls.push_back(crl({.issuer = "root", .revoked = {1}}, root_key));
    revocation = Revocation::ExceptLeaf;
    expect_refused("cert.revoked");
}

TEST_F(ChainTest, RevokedLeafIsRefused) {
    crls.push_back(crl({.issuer = "root"}, root_key));
    crls.push_back(crl({.issuer = "middle", .revoked = {7}}, middle_key));
    expect_refused("cert.revoked");
}

TEST_F(ChainTest, ListOfAnotherTimeRefusesButLeavesTheChainAuthentic) {
    crls.push_back(crl({.issuer = "root", .next_update = kNow - 1}, root_key));
    crls.push_back(crl({.issuer = "middle"}, middle_key));
    EXPECT_TRUE(verify().has_value());
    EXPECT_TRUE(findings.has(Code::CertCrlStale));
    EXPECT_TRUE(findings.is_authentic());
    EXPECT_FALSE(findings.is_accepted());
}

TEST_F(ChainTest, ListThatTheIssuerDidNotSignIsRefused) {
    crls.push_back(crl({.issuer = "root"}, middle_key));
    crls.push_back(crl({.issuer = "middle"}, middle_key));
    EXPECT_TRUE(verify().has_value());
    EXPECT_TRUE(findings.has(Code::CertCrlInvalid));
    EXPECT_FALSE(findings.is_accepted());
}

TEST_F(ChainTest, ListThatIsDemandedAndMissingIsARefusal) {
    crls_demanded = true;
    crls.push_back(crl({.issuer = "root"}, root_key));
    EXPECT_TRUE(verify().has_value());
    EXPECT_EQ(reasons(findings), "cert.crl-missing");
}

TEST_F(ChainTest, LeavesOfAnIssuerWithoutListsNeedNone) {
    crls_demanded = true;
    revocation = Revocation::ExceptLeaf;
    crls.push_back(crl({.issuer = "root"}, root_key));
    EXPECT_TRUE(verify().has_value());
    EXPECT_EQ(reasons(findings), "");
}

TEST_F(ChainTest, WhatIsNoCertificateIsMalformed) {
    const Certificate trusted = *root;
    auto own = std::move(*ChainVerifier::create(std::span{&trusted, 1}));
    const Buffer junk(100, std::byte{0x30});
    EXPECT_FALSE(own.verify({.presented = junk, .at = at}, findings).has_value());
    EXPECT_EQ(reasons(findings), "cert.malformed");
}

TEST_F(ChainTest, RememberedChainStillExpires) {
    EXPECT_TRUE(verify().has_value());
    EXPECT_TRUE(verify().has_value());
    at = leaf_form.not_after + 1;
    expect_refused("cert.expired cert.expired cert.expired");
}

TEST_F(ChainTest, RememberedChainIsStillRevoked) {
    EXPECT_TRUE(verify().has_value());
    crls.push_back(crl({.issuer = "root", .revoked = {1}}, root_key));
    revocation = Revocation::ExceptLeaf;
    findings = {};
    expect_refused("cert.revoked");
}

TEST_F(ChainTest, NotesComeWithARememberedChainToo) {
    EXPECT_TRUE(verify().has_value());
    findings = {};
    EXPECT_TRUE(verify().has_value());
    EXPECT_TRUE(findings.has(Code::CertNoCrl));
}

TEST_F(ChainTest, VerifierWithoutRootsIsNotMade) {
    EXPECT_FALSE(ChainVerifier::create({}).has_value());
    const Certificate intermediate = *middle;
    EXPECT_FALSE(ChainVerifier::create(std::span{&intermediate, 1}).has_value());
}

TEST_F(ChainTest, BundlesAreBounded) {
    const std::vector many(17, *leaf);
    const std::string text = pem(many);
    EXPECT_FALSE(parse_certificates(std::as_bytes(std::span{text})).has_value());
    EXPECT_TRUE(parse_certificates(std::as_bytes(std::span{text}.first(text.size() / 17 * 16))).has_value());
    const Buffer huge(std::size_t{64} << 20, std::byte{'-'});
    EXPECT_FALSE(parse_certificates(huge).has_value());
    EXPECT_FALSE(Crl::parse(huge).has_value());
}

TEST_F(ChainTest, ListsMayBeHexadecimal) {
    const Buffer der = crl_der({.issuer = "root"}, root_key);
    const std::string text = hex(der);
    EXPECT_TRUE(Crl::parse(std::as_bytes(std::span{text})).has_value());
    EXPECT_TRUE(Crl::parse(der).has_value());
}

}  // namespace
}  // namespace holdfast::attest
