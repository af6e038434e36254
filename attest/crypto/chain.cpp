// SPDX-License-Identifier: Apache-2.0
// Chains: X509_verify_cert with a callback that goes on after each error, so that all of them are reported.
#include <algorithm>
#include <array>

#include <openssl/err.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "attest/crypto/x509.hpp"
#include "sys/free_with.hpp"

namespace holdfast::attest {
namespace {

using Context = std::unique_ptr<X509_STORE_CTX, FreeWith<X509_STORE_CTX_free>>;

// Leaf, two intermediates and the root at most.
constexpr int kMaxDepth = 3;
constexpr std::size_t kMaxComplaints = 32;

struct FreeStack {
    // Only the stacks are ours; certificates and lists stay their owners'.
    void operator()(STACK_OF(X509) * stack) const noexcept { sk_X509_free(stack); }
    void operator()(STACK_OF(X509_CRL) * stack) const noexcept { sk_X509_CRL_free(stack); }
};
using Certificates = std::unique_ptr<STACK_OF(X509), FreeStack>;
using Crls = std::unique_ptr<STACK_OF(X509_CRL), FreeStack>;

struct Complaint {
    int error = 0;
    int depth = 0;
    std::string subject;
};
using Complaints = std::vector<Complaint>;

/// OpenSSL asks it of each step; 1 goes on.
int collect(int good, X509_STORE_CTX* context) {
    if (good == 1) return 1;
    // SAFETY: verify_with() has put it there and outlives the call.
    auto* const complaints = static_cast<Complaints*>(X509_STORE_CTX_get_app_data(context));
    if (complaints->size() == kMaxComplaints) return 0;
    Complaint complaint{X509_STORE_CTX_get_error(context), X509_STORE_CTX_get_error_depth(context), {}};
    if (X509* const current = X509_STORE_CTX_get_current_cert(context); current != nullptr) {
        std::array<char, 128> name{};
        X509_NAME_get_text_by_NID(X509_get_subject_name(current), NID_commonName, name.data(), name.size());
        complaint.subject = name.data();
    }
    complaints->push_back(std::move(complaint));
    return 1;
}

/// What an error of OpenSSL's chain check means for the verdict.
Code code_of(int error) noexcept {
    switch (error) {
        case X509_V_ERR_CERT_HAS_EXPIRED: return Code::CertExpired;
        case X509_V_ERR_CERT_NOT_YET_VALID: return Code::CertNotYetValid;
        case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        case X509_V_ERR_UNABLE_TO_DECRYPT_CERT_SIGNATURE: return Code::CertSignature;
        case X509_V_ERR_CERT_UNTRUSTED:
        case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
        case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: return Code::CertUntrusted;
        case X509_V_ERR_CERT_REVOKED: return Code::CertRevoked;
        case X509_V_ERR_CRL_HAS_EXPIRED:
        case X509_V_ERR_CRL_NOT_YET_VALID: return Code::CertCrlStale;
        case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
        case X509_V_ERR_CRL_SIGNATURE_FAILURE:
        case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
        case X509_V_ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE:
        case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER: return Code::CertCrlInvalid;
        case X509_V_ERR_UNABLE_TO_GET_CRL: return Code::CertNoCrl;
        default:
            return Code::CertConstraints;  // of OpenSSL's many, those that remain: the chain is not as it
                                           // must be
    }
}

void report(const Complaints& complaints, const ChainRequest& request, Findings& findings) {
    for (const Complaint& complaint : complaints) {
        Code code = code_of(complaint.error);
        if (code == Code::CertNoCrl) {
            if (complaint.depth == 0 && request.revocation == Revocation::ExceptLeaf) continue;
            if (request.crls_demanded) code = Code::CertCrlMissing;
        }
        findings.add(code, complaint.subject + ": " + X509_verify_cert_error_string(complaint.error));
    }
}

Certificates stack_of(std::span<const Certificate> some, std::span<const Certificate> more) {
    Certificates stack{sk_X509_new_null()};
    for (const auto& list : {some, more}) {
        for (const Certificate& one : list) {
            check(stack && sk_X509_push(stack.get(), one.native()) > 0, "sk_X509_push");
        }
    }
    return stack;
}

Crls stack_of(std::span<const Crl> crls) {
    Crls stack{sk_X509_CRL_new_null()};
    for (const Crl& crl : crls)
        check(stack && sk_X509_CRL_push(stack.get(), crl.native()) > 0, "sk_X509_CRL_push");
    return stack;
}

Digest256 key_of(const ChainRequest& request) {
    Sha256 hash;
    const std::array counts{request.presented.size(), request.helpers.size(), request.crls.size(),
                            static_cast<std::size_t>(request.revocation),
                            static_cast<std::size_t>(request.crls_demanded)};
    hash.update(std::as_bytes(std::span{counts}));
    hash.update(request.presented);
    for (const Certificate& helper : request.helpers) hash.update(helper.digest());
    for (const Crl& crl : request.crls) hash.update(crl.digest());
    return hash.finish();
}

bool is_note(const Finding& finding) { return row_of(finding.code).stage == Stage::Note; }

}  // namespace

void ChainVerifier::Free::operator()(x509_store_st* store) const noexcept { X509_STORE_free(store); }

Result<ChainVerifier> ChainVerifier::create(std::span<const Certificate> roots) {
    ChainVerifier verifier;
    verifier.store_.reset(X509_STORE_new());
    check(verifier.store_ != nullptr, "X509_STORE_new");
    if (roots.empty()) return input_error("no trusted root");
    for (const Certificate& root : roots) {
        if (!root.is_self_issued()) return input_error("a trusted root that is not self-signed");
        if (X509_STORE_add_cert(verifier.store_.get(), root.native()) != 1) {
            ERR_clear_error();
            return input_error("a trusted root that cannot be used");
        }
    }
    return verifier;
}

std::optional<Chain> ChainVerifier::build(const ChainRequest& request, const Certificate& leaf,
                                          std::span<const Certificate> others, Findings& findings) const {
    const Context context{X509_STORE_CTX_new()};
    const Certificates untrusted = stack_of(others, request.helpers);
    const Crls crls = stack_of(request.crls);
    check(context != nullptr &&
              X509_STORE_CTX_init(context.get(), store_.get(), leaf.native(), untrusted.get()) == 1,
          "X509_STORE_CTX_init");
    Complaints complaints;
    X509_STORE_CTX_set_app_data(context.get(), &complaints);
    X509_STORE_CTX_set_verify_cb(context.get(), collect);
    X509_STORE_CTX_set_depth(context.get(), kMaxDepth);
    X509_STORE_CTX_set_time(context.get(), 0, request.at);
    X509_STORE_CTX_set0_crls(context.get(), crls.get());
    X509_STORE_CTX_set_flags(context.get(), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    const bool built = X509_verify_cert(context.get()) == 1;
    ERR_clear_error();
    Findings found;
    report(complaints, request, found);
    // Not seen yet: OpenSSL says why it refuses. Without a test, but a refusal must not be taken for none.
    if (!built && complaints.empty()) found.add(Code::CertUntrusted, leaf.subject());
    findings.append(found);
    if (!built || !found.is_authentic()) return std::nullopt;

    Chain chain;
    const STACK_OF(X509)* const path = X509_STORE_CTX_get0_chain(context.get());
    for (int i = 0; i < sk_X509_num(path); ++i) {
        X509* const one = sk_X509_value(path, i);
        check(X509_up_ref(one) == 1, "X509_up_ref");
        auto certificate = Certificate::adopt(one);
        if (!certificate) return std::nullopt;  // it was adopted before, so this does not happen
        chain.push_back(std::move(*certificate));
    }
    return chain;
}

void ChainVerifier::remember(const Digest256& key, const ChainRequest& request, const Chain& chain,
                             std::span<const Finding> notes) {
    Remembered entry{.key = key, .chain = chain, .notes = {notes.begin(), notes.end()}};
    for (const Certificate& certificate : chain) {
        entry.from = std::max(entry.from, certificate.not_before());
        entry.until = std::min(entry.until, certificate.not_after());
    }
    for (const Crl& crl : request.crls) {
        entry.from = std::max(entry.from, crl.last_update());
        entry.until = std::min(entry.until, crl.next_update());
    }
    if (remembered_.size() < kRemembered) {
        remembered_.push_back(std::move(entry));
        return;
    }
    remembered_[next_] = std::move(entry);
    next_ = (next_ + 1) % kRemembered;
}

std::optional<Chain> ChainVerifier::verify(const ChainRequest& request, Findings& findings) {
    const Digest256 key = key_of(request);
    const auto known = std::ranges::find_if(remembered_, [&](const Remembered& entry) {
        return entry.key == key && entry.from <= request.at && request.at <= entry.until;
    });
    if (known != remembered_.end()) {
        for (const Finding& note : known->notes) findings.add(note.code, note.detail);
        return known->chain;
    }
    const auto presented = parse_certificates(request.presented);
    if (!presented) {
        findings.add(Code::CertMalformed, presented.error().what);
        return std::nullopt;
    }
    Findings found;
    auto chain = build(request, presented->front(), std::span{*presented}.subspan(1), found);
    findings.append(found);
    if (chain && std::ranges::all_of(found.list(), is_note)) remember(key, request, *chain, found.list());
    return chain;
}

}  // namespace holdfast::attest
