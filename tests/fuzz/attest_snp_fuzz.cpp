// SPDX-License-Identifier: Apache-2.0
// An SNP report, and a certificate that claims to endorse it.
#include "attest/formats/snp/authenticate.hpp"
#include "tests/fuzz/input.hpp"

using namespace holdfast::attest;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    holdfast::fuzz::Input input{data, size};
    const auto report_bytes = input.take_bytes(snp::kReportSize);
    const auto endorsement_bytes = input.take_bytes(size);
    if (const auto report = snp::parse_report(report_bytes)) {
        [[maybe_unused]] const auto product = snp::product_of(**report, endorsement_bytes);
    }
    if (const auto certificates = parse_certificates(endorsement_bytes)) {
        for (const Certificate& one : *certificates) {
            [[maybe_unused]] const auto endorsement = snp::read_endorsement(one);
            [[maybe_unused]] const auto subject = one.subject();
        }
    }
    [[maybe_unused]] const auto crl = Crl::parse(endorsement_bytes);
    return 0;
}
