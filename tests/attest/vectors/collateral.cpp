// SPDX-License-Identifier: Apache-2.0
#include "tests/attest/vectors/collateral.hpp"

#include "attest/text/encoding.hpp"

namespace holdfast::attest::vectors {
namespace {

/// The certificates of Intel's signers in the folder's bundles: pieces that came without theirs were signed
/// by the same.
void add_known_signers(const Case& test, Trust& trust) {
    for (const Bytes& file : files_in(test.folder() / "tdx", ".collateral.json")) {
        const auto bundle = tdx::parse_bundle(text_of(file));
        if (!bundle) continue;
        for (const auto& statement : {bundle->tcb_info, bundle->qe_identity}) {
            if (statement && !statement->issuer_chain.empty()) {
                trust.add_helpers(std::as_bytes(std::span{statement->issuer_chain}));
            }
        }
    }
}

}  // namespace

Intel::Intel(const Case& test) : trust_{test, {"root", "chain"}, "intel"} {
    add_known_signers(test, trust_);
    trust_.add_crls(test, {"pck_crl", "root_crl", "root_ca_crl"});
    const auto read = [&](const char* name, const char* member, std::optional<tdx::Statement>& to) {
        if (!test.has(name)) return;
        auto statement = tdx::parse_statement(text_of(test.file(name)), member, "");
        if (statement) to = std::move(*statement);
        else unreadable_ = statement.error();
    };
    if (test.has("collateral")) {
        auto bundle = tdx::parse_bundle(text_of(test.file("collateral")));
        if (bundle) bundle_ = std::move(*bundle);
        else unreadable_ = bundle.error();
        for (Crl& crl : bundle_.crls) trust_.add_crl(std::move(crl));
        bundle_.crls.clear();
    }
    read("tcb_info", "tcbInfo", bundle_.tcb_info);
    read("qe_identity", "enclaveIdentity", bundle_.qe_identity);
}

tdx::Collateral Intel::collateral(std::int64_t at, Findings& findings) {
    tdx::Collateral collateral;
    if (unreadable_) findings.add(Code::TdxCollateralMalformed, unreadable_->what);
    if (bundle_.tcb_info) {
        collateral.tcb_info =
            tdx::authenticate_tcb_info(*bundle_.tcb_info, known(at), trust_.verifier(), findings);
    }
    if (bundle_.qe_identity) {
        collateral.qe_identity =
            tdx::authenticate_qe_identity(*bundle_.qe_identity, known(at), trust_.verifier(), findings);
    }
    return collateral;
}

}  // namespace holdfast::attest::vectors
