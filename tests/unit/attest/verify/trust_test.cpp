// SPDX-License-Identifier: Apache-2.0
#include "attest/verify/trust.hpp"

#include "tests/unit/attest/fake_authority.hpp"

namespace holdfast::attest {
namespace {

using namespace test;

TEST(Trust, CertificateOfAKeyThatNoTpmHasIsRefused) {
    const Key root_key = Key::ec("P-256");
    const Certificate root = certificate({.subject = "root", .is_ca = true}, root_key, root_key);
    auto verifier = std::move(*ChainVerifier::create(std::span{&root, 1}));
    for (const bool known : {true, false}) {
        const Key key = known ? Key::ec("P-256") : Key::ed25519();
        const Buffer leaf =
            certificate({.subject = "AK", .issuer = "root", .serial = 1}, key, root_key).der();
        Findings findings;
        const AkTrust trust = trust_by_certificate(verifier, {.presented = leaf, .at = kNow}, findings);
        EXPECT_EQ(trust.by, AkTrust::By::Certificate);
        EXPECT_EQ(trust.certified.has_value(), known);
        EXPECT_EQ(reasons(findings), known ? "" : "tpm.ak-certificate");
    }
}

}  // namespace
}  // namespace holdfast::attest
