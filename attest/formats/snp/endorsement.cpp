// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/snp/endorsement.hpp"

#include <string_view>

#include "attest/crypto/der.hpp"
#include "attest/text/encoding.hpp"

namespace holdfast::attest::snp {
namespace {

// The arc 1.3.6.1.4.1.3704.1 is AMD's for these certificates.
constexpr const char* kProductName = "1.3.6.1.4.1.3704.1.2";
constexpr const char* kBootloaderSpl = "1.3.6.1.4.1.3704.1.3.1";
constexpr const char* kTeeSpl = "1.3.6.1.4.1.3704.1.3.2";
constexpr const char* kSnpSpl = "1.3.6.1.4.1.3704.1.3.3";
constexpr const char* kMicrocodeSpl = "1.3.6.1.4.1.3704.1.3.8";
constexpr const char* kFmcSpl = "1.3.6.1.4.1.3704.1.3.9";
constexpr const char* kHardwareId = "1.3.6.1.4.1.3704.1.4";
constexpr const char* kProviderId = "1.3.6.1.4.1.3704.1.5";

constexpr std::size_t kHardwareIdSize = 64;
constexpr std::size_t kShortHardwareIdSize = 8;

/// A security version: an INTEGER from 0 to 255.
Result<std::uint8_t> version_of(const Certificate& certificate, const char* oid) {
    const auto extension = certificate.extension(oid);
    if (!extension) return input_error("an SNP endorsement without a security version");
    DerReader reader{*extension};
    const auto version = HF_TRY(reader.get_number());
    HF_TRY(reader.expect_end());
    if (version > 255) return input_error("an SNP endorsement with a security version above 255");
    return static_cast<std::uint8_t>(version);
}

Result<Tcb> tcb_in(const Certificate& certificate, Product product) {
    Tcb tcb;
    if (product == Product::Turin) tcb.fmc = HF_TRY(version_of(certificate, kFmcSpl));
    tcb.bootloader = HF_TRY(version_of(certificate, kBootloaderSpl));
    tcb.tee = HF_TRY(version_of(certificate, kTeeSpl));
    tcb.snp = HF_TRY(version_of(certificate, kSnpSpl));
    tcb.microcode = HF_TRY(version_of(certificate, kMicrocodeSpl));
    return tcb;
}

Result<std::string> string_in(const Certificate& certificate, const char* oid) {
    const auto extension = certificate.extension(oid);
    if (!extension) return input_error("an SNP endorsement without a name that must be there");
    auto content = DerReader{*extension}.get(DerTag::Ia5String);
    if (!content) content = DerReader{*extension}.get(DerTag::Utf8String);
    if (!content) return content.error();
    return std::string{text_of(*content)};
}

/// KDS writes the bytes as they are, other tools wrap them into an OCTET STRING. The size tells which.
Result<std::vector<std::byte>> hardware_in(const Certificate& certificate, Product product) {
    const auto extension = certificate.extension(kHardwareId);
    if (!extension) return input_error("a VCEK without a chip's identifier");
    const std::size_t size = product == Product::Turin ? kShortHardwareIdSize : kHardwareIdSize;
    auto bytes = *extension;
    if (bytes.size() == size + 2) bytes = HF_TRY(DerReader{bytes}.get(DerTag::OctetString));
    if (bytes.size() != size) return input_error("a VCEK with a chip's identifier of another size");
    return std::vector<std::byte>{bytes.begin(), bytes.end()};
}

}  // namespace

Result<Endorsement> read_endorsement(const Certificate& certificate) {
    Endorsement endorsement;
    const std::string subject = certificate.subject();
    if (subject == "SEV-VLEK") endorsement.kind = EndorsementKind::Vlek;
    else if (subject != "SEV-VCEK") return input_error("neither a VCEK nor a VLEK");
    const auto product = product_of_name(HF_TRY(string_in(certificate, kProductName)));
    if (!product) return input_error("an SNP endorsement for a product that is not known here");
    endorsement.product = *product;
    endorsement.tcb = HF_TRY(tcb_in(certificate, *product));
    if (endorsement.kind == EndorsementKind::Vlek) {
        if (certificate.extension(kProviderId))
            endorsement.provider = HF_TRY(string_in(certificate, kProviderId));
    } else {
        endorsement.hardware = HF_TRY(hardware_in(certificate, *product));
    }
    return endorsement;
}

}  // namespace holdfast::attest::snp
