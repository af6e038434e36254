// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tdx/collateral.hpp"

#include <algorithm>

#include "attest/formats/tdx/collateral_json.hpp"
#include "attest/text/encoding.hpp"
#include "attest/text/json.hpp"

namespace holdfast::attest {

template <>
struct Voucher<tdx::TcbInfo, Stage::Authenticate> {
    static Authenticated<tdx::TcbInfo> grant(tdx::TcbInfo info) {
        return Authenticated<tdx::TcbInfo>{std::move(info)};
    }
};
template <>
struct Voucher<tdx::QeIdentity, Stage::Authenticate> {
    static Authenticated<tdx::QeIdentity> grant(tdx::QeIdentity identity) {
        return Authenticated<tdx::QeIdentity>{std::move(identity)};
    }
};

}  // namespace holdfast::attest

namespace holdfast::attest::tdx {
namespace {

constexpr std::size_t kNumberSize = 32;

struct Name {
    TcbStatus status;
    std::string_view name;
};
constexpr std::array kNames{
    Name{TcbStatus::UpToDate, "UpToDate"},
    Name{TcbStatus::SwHardeningNeeded, "SWHardeningNeeded"},
    Name{TcbStatus::ConfigurationNeeded, "ConfigurationNeeded"},
    Name{TcbStatus::ConfigurationAndSwHardeningNeeded, "ConfigurationAndSWHardeningNeeded"},
    Name{TcbStatus::OutOfDate, "OutOfDate"},
    Name{TcbStatus::OutOfDateConfigurationNeeded, "OutOfDateConfigurationNeeded"},
    Name{TcbStatus::Revoked, "Revoked"}};

Result<std::optional<Statement>> statement_in(JsonValue bundle, const std::string& name) {
    if (!bundle.find(name)) return std::optional<Statement>{};
    Statement statement;
    statement.body = HF_TRY(string_at(bundle, name));
    const auto signature = HF_TRY(string_at(bundle, name + "_signature"));
    statement.signature = HF_TRY(bytes_of_hex(signature));
    if (bundle.find(name + "_issuer_chain"))
        statement.issuer_chain = HF_TRY(string_at(bundle, name + "_issuer_chain"));
    return std::optional{std::move(statement)};
}

Result<void> check_signature(const Statement& statement, const Certificate& signer) {
    const auto key = HF_TRY(signer.key());
    if (key.kind() != KeyKind::P256 || statement.signature.size() != 2 * kNumberSize) {
        return input_error("a signature that is not one of P-256");
    }
    const std::span<const std::byte> signature{statement.signature};
    return verify(key,
                  {.scheme = Scheme::Ecdsa,
                   .hash = HashAlg::Sha256,
                   .first = signature.first(kNumberSize),
                   .second = signature.subspan(kNumberSize)},
                  std::as_bytes(std::span{statement.body}));
}

/// The certificate of the signer: from the statement's own chain, or, where it came without one, of those at
/// hand the one that signed it. Either must chain to a trusted root.
bool is_signed(const Statement& statement, const ChainRequest& known, ChainVerifier& verifier,
               std::string_view what, Findings& findings) {
    std::vector<Certificate> signers;
    std::string presented = statement.issuer_chain;
    if (presented.empty()) {
        const auto signer = std::ranges::find_if(known.helpers, [&](const Certificate& one) {
            return check_signature(statement, one).has_value();
        });
        if (signer == known.helpers.end()) {
            findings.add(Code::TdxCollateralChain,
                         std::string{what} + ": the signer's certificate is not there");
            return false;
        }
        presented = std::string{text_of(signer->der())};
    }
    ChainRequest request = known;
    request.presented = std::as_bytes(std::span{presented});
    Findings found;
    const auto chain = verifier.verify(request, found);
    for (const Finding& finding : found.list()) {
        // Why there is no chain is a detail here: the evidence is no less authentic for it.
        const bool fatal =
            row_of(finding.code).stage != Stage::Note && row_of(finding.code).stage != Stage::Appraise;
        findings.add(
            fatal ? Code::TdxCollateralChain : finding.code,
            std::string{what} + ": " + std::string{row_of(finding.code).name} + " " + finding.detail);
    }
    if (!chain) return false;
    if (const auto good = check_signature(statement, chain->front()); !good) {
        findings.add(Code::TdxCollateralSignature, std::string{what} + ": " + good.error().what);
        return false;
    }
    return true;
}

}  // namespace

std::string_view status_name(TcbStatus status) noexcept {
    return std::ranges::find(kNames, status, &Name::status)->name;
}

std::optional<TcbStatus> status_of_name(std::string_view name) noexcept {
    const auto* const row = std::ranges::find(kNames, name, &Name::name);
    if (row == kNames.end()) return std::nullopt;
    return row->status;
}

Result<Statement> parse_statement(std::string_view json, std::string_view member,
                                  std::string_view issuer_chain) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const auto body = HF_TRY(document.root().at(member));
    const auto signature = HF_TRY(string_at(document.root(), "signature"));
    return Statement{.body = std::string{body.raw()},
                     .signature = HF_TRY(bytes_of_hex(signature)),
                     .issuer_chain = std::string{issuer_chain}};
}

Result<Bundle> parse_bundle(std::string_view json) {
    const auto document = HF_TRY(JsonDocument::parse(json));
    const JsonValue root = document.root();
    Bundle bundle;
    bundle.tcb_info = HF_TRY(statement_in(root, "tcb_info"));
    bundle.qe_identity = HF_TRY(statement_in(root, "qe_identity"));
    for (const std::string_view name : {"root_ca_crl", "pck_crl"}) {
        if (!root.find(name)) continue;
        const auto text = HF_TRY(string_at(root, name));
        bundle.crls.push_back(HF_TRY(Crl::parse(std::as_bytes(std::span{text}))));
    }
    if (root.find("pck_crl_issuer_chain"))
        bundle.pck_issuer_chain = HF_TRY(string_at(root, "pck_crl_issuer_chain"));
    return bundle;
}

std::optional<Authenticated<TcbInfo>> authenticate_tcb_info(const Statement& statement,
                                                            const ChainRequest& known,
                                                            ChainVerifier& verifier, Findings& findings) {
    if (!is_signed(statement, known, verifier, "TCB info", findings)) return std::nullopt;
    auto info = read_tcb_info(statement.body);
    if (!info) {
        findings.add(Code::TdxCollateralMalformed, std::string{"TCB info: "} + info.error().what);
        return std::nullopt;
    }
    return Voucher<TcbInfo, Stage::Authenticate>::grant(std::move(*info));
}

std::optional<Authenticated<QeIdentity>> authenticate_qe_identity(const Statement& statement,
                                                                  const ChainRequest& known,
                                                                  ChainVerifier& verifier,
                                                                  Findings& findings) {
    if (!is_signed(statement, known, verifier, "QE identity", findings)) return std::nullopt;
    auto identity = read_qe_identity(statement.body);
    if (!identity) {
        findings.add(Code::TdxCollateralMalformed, std::string{"QE identity: "} + identity.error().what);
        return std::nullopt;
    }
    return Voucher<QeIdentity, Stage::Authenticate>::grant(std::move(*identity));
}

bool equal_masked(std::span<const std::byte> actual, std::span<const std::byte> expected,
                  std::span<const std::byte> mask) noexcept {
    if (actual.size() != expected.size() || actual.size() != mask.size()) return false;
    for (std::size_t i = 0; i < actual.size(); ++i) {
        if ((actual[i] & mask[i]) != expected[i]) return false;
    }
    return true;
}

}  // namespace holdfast::attest::tdx
