// SPDX-License-Identifier: Apache-2.0
// Certificates and revocation lists of anybody, as bundles have them, and a chain to one of them.
#include "attest/crypto/x509.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = std::as_bytes(std::span{data, size});
    [[maybe_unused]] const auto crl = Crl::parse(bytes);
    const auto all = parse_certificates(bytes);
    if (!all) return 0;
    for (const Certificate& one : *all) {
        (void)one.subject();
        (void)one.subject_serial();
        (void)one.is_for("2.23.133.8.1");
        (void)one.extension("1.3.6.1.4.1.3704.1.3.1");
        (void)one.not_after();
        [[maybe_unused]] const auto key = one.key();
    }
    auto verifier = ChainVerifier::create(std::span{*all}.last(1));
    if (!verifier) return 0;
    Findings findings;
    (void)verifier->verify({.presented = bytes, .at = 1'760'000'000}, findings);
    return 0;
}
