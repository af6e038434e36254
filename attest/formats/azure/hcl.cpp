// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/azure/hcl.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"
#include "sys/wire/endian.hpp"

namespace holdfast::attest {

template <>
struct Voucher<azure::HclReport, Stage::Parse> {
    static Parsed<azure::HclReport> grant(const azure::HclReport& hcl) {
        return Parsed<azure::HclReport>{hcl};
    }
};
template <>
struct Voucher<azure::HclReport, Stage::Bind> {
    static Bound<azure::HclReport> grant(const azure::HclReport& hcl) { return Bound<azure::HclReport>{hcl}; }
};

}  // namespace holdfast::attest

namespace holdfast::attest::azure {
namespace {

using Bytes = std::span<const std::byte>;
using Number = Le<std::uint32_t>;

constexpr std::array kMagic{std::byte{'H'}, std::byte{'C'}, std::byte{'L'}, std::byte{'A'}};
constexpr std::uint32_t kSnpReport = 2;
constexpr std::uint32_t kTdReport = 4;
constexpr std::size_t kSnpReportSize = 1184;
constexpr std::size_t kTdReportSize = 1024;
constexpr std::string_view kAttestationKey = "HCLAkPub";

struct Header {
    std::array<std::byte, 4> magic;
    Number version;
    Number size;
    Number request_type;
    Number status;
    std::array<std::byte, 12> reserved;
};
struct RuntimeData {
    Number size;  ///< of this header and the variable data
    Number version;
    Number report_type;
    Number hash_type;
    Number variable_size;
};
struct Wire {
    Header header;
    std::array<std::byte, kSnpReportSize> hardware_report;
    RuntimeData runtime;
};
static_assert(sizeof(Wire) == 0x4d4 && alignof(Wire) == 1);

// TDREPORT (Intel TDX Module ABI, 1.5): what quotes have too.
constexpr std::size_t kTdReportData = 128;
constexpr std::size_t kTdMrtd = 528;

std::optional<HashAlg> hash_of(std::uint32_t type) noexcept {
    switch (type) {
        case 1: return HashAlg::Sha256;
        case 2: return HashAlg::Sha384;
        case 3: return HashAlg::Sha512;
        default: return std::nullopt;
    }
}

bool same_td(const HclReport& hcl, const tdx::TdReport& td) {
    const auto own = [&](std::size_t offset, Bytes other) {
        return std::ranges::equal(hcl.hardware_report.subspan(offset, other.size()), other);
    };
    return own(kTdReportData, td.report_data) && own(kTdMrtd, td.mrtd);
}

}  // namespace

Result<Parsed<HclReport>> parse_hcl_report(Bytes bytes) {
    Wire wire;
    if (bytes.size() < sizeof wire) return input_error("an HCL report that ends too early");
    std::memcpy(&wire, bytes.data(), sizeof wire);
    if (wire.header.magic != kMagic) return input_error("not an HCL report");
    const std::size_t rest = bytes.size() - sizeof wire;
    const std::size_t size = wire.runtime.variable_size.get();
    if (size > rest || wire.runtime.size.get() != sizeof(RuntimeData) + size) {
        return input_error("an HCL report whose sizes contradict each other");
    }
    const Bytes behind = bytes.subspan(sizeof wire + size);
    if (std::ranges::any_of(behind, [](std::byte b) { return b != std::byte{0}; })) {
        return input_error("an HCL report with bytes that belong to nothing");
    }
    const auto hash = hash_of(wire.runtime.hash_type.get());
    if (!hash) return input_error("an HCL report with a hash that is not known");
    HclReport hcl;
    const std::uint32_t type = wire.runtime.report_type.get();
    if (type != kSnpReport && type != kTdReport)
        return input_error("an HCL report of hardware that is not known");
    hcl.hardware = type == kSnpReport ? Hardware::Snp : Hardware::Tdx;
    hcl.hardware_report =
        bytes.subspan(offsetof(Wire, hardware_report), type == kSnpReport ? kSnpReportSize : kTdReportSize);
    hcl.hash = *hash;
    hcl.variable_data = bytes.subspan(sizeof wire, size);
    return Voucher<HclReport, Stage::Parse>::grant(hcl);
}

std::optional<Bound<HclReport>> bind_snp(const Parsed<HclReport>& hcl,
                                         const Authenticated<snp::Endorsed>& report, Findings& findings) {
    Findings found;
    const Digest digest = hcl->digest();
    if (!snp::bind_report_data(report, digest.bytes(), found)) {
        findings.add(Code::AzureVariableData);
        return std::nullopt;
    }
    return Voucher<HclReport, Stage::Bind>::grant(*hcl);
}

std::optional<Bound<HclReport>> bind_tdx(const Parsed<HclReport>& hcl,
                                         const Authenticated<tdx::Certified>& quote, Findings& findings) {
    Findings found;
    const auto* const td = quote->quote.td();
    if (td == nullptr) {
        findings.add(Code::AzureReportKind, "the quote is not of a TD");
        return std::nullopt;
    }
    const Digest digest = hcl->digest();
    if (!tdx::bind_report_data(quote, digest.bytes(), found)) findings.add(Code::AzureVariableData);
    // The quote alone is signed for others. That the paravisor's own report differs would be a sign of a
    // mix-up.
    if (!same_td(*hcl, *td)) findings.add(Code::AzureTdReport);
    if (!found.is_authentic() || !same_td(*hcl, *td)) return std::nullopt;
    return Voucher<HclReport, Stage::Bind>::grant(*hcl);
}

Result<PublicKey> attestation_key_of(const HclReport& hcl) {
    const auto document = HF_TRY(JsonDocument::parse(text_of(hcl.variable_data)));
    const auto keys = HF_TRY(document.root().at("keys"));
    const auto elements = HF_TRY(keys.elements());
    for (const JsonValue key : elements) {
        const auto id = HF_TRY(key.at("kid"));
        if (HF_TRY(id.string()) != kAttestationKey) continue;
        const auto modulus = HF_TRY(key.at("n"));
        const auto exponent = HF_TRY(key.at("e"));
        const auto modulus_text = HF_TRY(modulus.string());
        const auto exponent_text = HF_TRY(exponent.string());
        const auto n = HF_TRY(bytes_of_base64(modulus_text));
        const auto e = HF_TRY(bytes_of_base64(exponent_text));
        if (e.size() > sizeof(std::uint32_t))
            return input_error("an HCL key with an exponent that is out of range");
        std::uint32_t value = 0;
        for (const std::byte b : e) value = value << 8 | std::to_integer<std::uint32_t>(b);
        return PublicKey::rsa(n, value);
    }
    return input_error("an HCL report without the attestation key of its vTPM");
}

}  // namespace holdfast::attest::azure
