// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/snp/authenticate.hpp"

#include <algorithm>
#include <array>
#include <string>

#include <openssl/crypto.h>

namespace holdfast::attest {

template <>
struct Voucher<snp::Endorsed, Stage::Authenticate> {
    static Authenticated<snp::Endorsed> grant(snp::Endorsed endorsed) {
        return Authenticated<snp::Endorsed>{std::move(endorsed)};
    }
};
template <>
struct Voucher<snp::Endorsed, Stage::Bind> {
    static Bound<snp::Endorsed> grant(const snp::Endorsed& endorsed) {
        return Bound<snp::Endorsed>{endorsed};
    }
};

}  // namespace holdfast::attest

namespace holdfast::attest::snp {
namespace {

constexpr std::uint32_t kEcdsaP384Sha384 = 1;
constexpr std::size_t kNumberField = 72;  // R, and S behind it
constexpr std::size_t kNumberSize = 48;

/// A number of the signature in the byte order of everybody else; none: it is too large for the curve.
std::optional<std::array<std::byte, kNumberSize>> number_at(std::span<const std::byte> signature,
                                                            std::size_t offset) {
    const auto field = signature.subspan(offset, kNumberField);
    if (std::ranges::any_of(field.subspan(kNumberSize), [](std::byte b) { return b != std::byte{0}; })) {
        return std::nullopt;
    }
    std::array<std::byte, kNumberSize> number{};
    std::ranges::reverse_copy(field.first(kNumberSize), number.begin());
    return number;
}

void check_signature(const Report& report, const Certificate& leaf, Findings& findings) {
    if (report.signature_algorithm != kEcdsaP384Sha384) {
        findings.add(Code::SnpSignature, "the report names another algorithm than ECDSA P-384 with SHA-384");
        return;
    }
    const auto key = leaf.key();
    if (!key || key->kind() != KeyKind::P384) {
        findings.add(Code::SnpSignature, "the endorsed key is none of P-384");
        return;
    }
    const auto r = number_at(report.signature, 0);
    const auto s = number_at(report.signature, kNumberField);
    if (!r || !s) {
        findings.add(Code::SnpSignature, "a number of the signature is larger than the curve's");
        return;
    }
    const Signature signature{.scheme = Scheme::Ecdsa, .hash = HashAlg::Sha384, .first = *r, .second = *s};
    if (const auto verified = verify(*key, signature, report.signed_part); !verified) {
        findings.add(Code::SnpSignature, verified.error().what);
    }
}

void check_key_kind(const Report& report, const Endorsement& endorsement, Findings& findings) {
    const bool is_vlek = endorsement.kind == EndorsementKind::Vlek;
    const auto expected = is_vlek ? SigningKey::Vlek : SigningKey::Vcek;
    if (report.signing_key() != static_cast<std::uint8_t>(expected)) {
        findings.add(Code::SnpKeyKind, is_vlek ? "the report names the VCEK, the certificate is of a VLEK"
                                               : "the report names the VLEK, the certificate is of a VCEK");
    }
}

/// The processor of the report, the product that the endorsement names, and the authority that issued it,
/// which is one product's, are the same.
void check_product(const Report& report, const Endorsement& endorsement, const Certificate& leaf,
                   Findings& findings) {
    const std::string product{product_name(endorsement.product)};
    const std::string authority =
        (endorsement.kind == EndorsementKind::Vlek ? "SEV-VLEK-" : "SEV-") + product;
    if (leaf.issuer() != authority) {
        findings.add(Code::SnpProduct, "an endorsement for " + product + " issued by " + leaf.issuer());
    }
    if (!report.cpu) return;
    const auto claimed = product_of_cpu(report.cpu->family, report.cpu->model);
    if (!claimed) {
        findings.add(Code::SnpUnknownProduct, "CPU family " + std::to_string(report.cpu->family) +
                                                  ", model " + std::to_string(report.cpu->model));
    } else if (*claimed != endorsement.product) {
        findings.add(Code::SnpProduct, "a report of " + std::string{product_name(*claimed)} +
                                           " and an endorsement for " + product);
    }
}

/// The key is derived from the chip and from the reported TCB; not from the current one, which may be newer.
void check_derivation(const Report& report, const Endorsement& endorsement, Findings& findings) {
    const Tcb reported = tcb_of(endorsement.product, report.reported_tcb);
    if (reported != endorsement.tcb) {
        findings.add(Code::SnpTcb,
                     "reported " + text_of_tcb(reported) + "; endorsed " + text_of_tcb(endorsement.tcb));
    }
    if (endorsement.kind == EndorsementKind::Vlek) {
        findings.add(Code::SnpChipMasked, "a VLEK is a provider's and not a chip's");
    } else if (report.chip_id_masked()) {
        findings.add(Code::SnpChipMasked, "the platform hides it from its guests");
    } else if (!std::ranges::equal(endorsement.hardware, report.chip_id.first(endorsement.hardware.size()))) {
        findings.add(Code::SnpChip);
    }
}

/// The endorsement that was presented, though nobody vouched for it yet.
std::optional<Certificate> leaf_of(const std::optional<Chain>& chain, std::span<const std::byte> presented) {
    if (chain) return chain->front();
    auto certificates = parse_certificates(presented);
    if (!certificates) return std::nullopt;
    return std::move(certificates->front());
}

}  // namespace

std::optional<Authenticated<Endorsed>> authenticate(const Parsed<Report>& report, const ChainRequest& request,
                                                    ChainVerifier& verifier, Findings& findings) {
    Findings found;
    ChainRequest amd = request;
    amd.revocation = Revocation::ExceptLeaf;
    const auto chain = verifier.verify(amd, found);
    const auto leaf = leaf_of(chain, request.presented);
    std::optional<Endorsement> endorsement;
    if (report->signing_key() != static_cast<std::uint8_t>(SigningKey::Vcek) &&
        report->signing_key() != static_cast<std::uint8_t>(SigningKey::Vlek)) {
        found.add(Code::SnpUnsigned, "the report names no key of those that sign");
    } else if (leaf) {
        check_signature(*report, *leaf, found);
        auto read = read_endorsement(*leaf);
        if (!read) {
            found.add(Code::SnpVek, read.error().what);
        } else {
            check_key_kind(*report, *read, found);
            check_product(*report, *read, *leaf, found);
            check_derivation(*report, *read, found);
            endorsement = std::move(*read);
        }
    }
    findings.append(found);
    if (!chain || !endorsement || !found.is_authentic()) return std::nullopt;
    return Voucher<Endorsed, Stage::Authenticate>::grant({*report, std::move(*endorsement)});
}

std::optional<Product> product_of(const Report& report, std::span<const std::byte> presented) {
    if (report.cpu) return product_of_cpu(report.cpu->family, report.cpu->model);
    const auto leaf = leaf_of(std::nullopt, presented);
    if (!leaf) return std::nullopt;
    const auto endorsement = read_endorsement(*leaf);
    if (!endorsement) return std::nullopt;
    return endorsement->product;
}

std::optional<Bound<Endorsed>> bind_report_data(const Authenticated<Endorsed>& report,
                                                std::span<const std::byte> expected, Findings& findings) {
    std::array<std::byte, 64> padded{};
    const auto actual = report->report.report_data;
    if (expected.size() > padded.size()) {
        findings.add(Code::SnpReportData, "more than the 64 bytes that a report can hold are expected");
        return std::nullopt;
    }
    std::ranges::copy(expected, padded.begin());
    if (CRYPTO_memcmp(padded.data(), actual.data(), padded.size()) != 0) {
        findings.add(Code::SnpReportData);
        return std::nullopt;
    }
    return Voucher<Endorsed, Stage::Bind>::grant(*report);
}

}  // namespace holdfast::attest::snp
