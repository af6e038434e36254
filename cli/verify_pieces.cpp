// SPDX-License-Identifier: Apache-2.0
// Each format of a raw piece: which companions it takes, and which part of the policy judges it.
#include <array>
#include <functional>

#include <fmt/format.h>

#include "attest/formats/eventlog/appraise.hpp"
#include "attest/formats/ima/list.hpp"
#include "attest/text/encoding.hpp"
#include "attest/verify/cpu.hpp"
#include "attest/verify/nv_certify.hpp"
#include "attest/verify/quote.hpp"
#include "cli/error.hpp"
#include "cli/output.hpp"
#include "cli/verify.hpp"
#include "sys/sha2.hpp"

namespace holdfast::cli {
namespace {

using attest::AkTrust;
using attest::Code;
using attest::Findings;
namespace eventlog = attest::eventlog;
namespace ima = attest::ima;
namespace tpm = attest::tpm;

const std::string& needed(const std::string& value, const char* flag, const VerifyOptions& options) {
    if (!value.empty()) return value;
    throw Failure{cli::Code::Usage, fmt::format("--format {} needs {}", options.format, flag),
                  "the piece does not carry it itself",
                  "holdfast verify --help says which files go with which format"};
}

attest::ChainVerifier verifier_of(const std::vector<std::string>& roots, const char* key) {
    if (roots.empty()) {
        throw Failure{cli::Code::Policy, "the policy trusts nobody for this kind of evidence",
                      fmt::format("it has no '{}'", key),
                      "name the files of the certificates that you trust"};
    }
    auto verifier = attest::ChainVerifier::create(read_certificates(roots));
    if (!verifier) {
        throw Failure{cli::Code::Policy, "the policy's roots cannot be used", verifier.error().what,
                      "roots are self-signed certificates, in PEM or DER"};
    }
    return std::move(*verifier);
}

/// By certificate if there is one, else by the policy's list; a key that nobody names is not trusted.
AkTrust trust_of(const Piece& piece, Findings& findings) {
    if (piece.options.certificate.empty()) {
        return {.by = AkTrust::By::Name, .names = piece.policy.ak_names, .certified = std::nullopt};
    }
    auto verifier = verifier_of(piece.policy.tpm_roots, "host.roots");
    const Blob presented = read_evidence(piece.options.certificate);
    const auto helpers = read_certificates(piece.options.chain);
    const auto crls = piece.crls();
    return attest::trust_by_certificate(
        verifier, {.presented = presented, .helpers = helpers, .crls = crls, .at = piece.at}, findings);
}

void tell_statement(const tpm::Attest& attest, Facts& facts) {
    facts["signer_name"] = hex(attest.signer);
    facts["nonce"] = hex(attest.extra);
    facts["clock"] = attest.clock_info.clock;
    facts["reset_count"] = attest.clock_info.reset_count;
    facts["restart_count"] = attest.clock_info.restart_count;
}

void tell_registers(const char* name, const eventlog::Registers& registers, Facts& facts) {
    for (std::size_t i = 0; i < registers.size(); ++i) {
        if (registers[i]) facts[name][std::to_string(i)] = hex(registers[i]->bytes());
    }
}

Verdict verify_quote(const Piece& piece) {
    const VerifyOptions& options = piece.options;
    Verdict verdict;
    const Blob signature = read_evidence(needed(options.signature, "--signature", options));
    const Blob key = read_key(needed(options.key, "--key", options));
    const auto log =
        options.event_log.empty() ? std::nullopt : std::optional{read_evidence(options.event_log)};
    const auto list = options.ima_log.empty() ? std::nullopt : std::optional{read_evidence(options.ima_log)};
    verdict.signer = signer_of(key);
    const auto memory = piece.memory_of(verdict.signer);
    const attest::QuoteEvidence evidence{.attest = piece.evidence,
                                         .signature = signature,
                                         .key = key,
                                         .trust = trust_of(piece, verdict.findings),
                                         .pcrs = read_pcrs(needed(options.pcrs, "--pcrs", options)),
                                         .nonce = piece.nonce,
                                         .event_log = log,
                                         .ima_list = list,
                                         .last_seen = memory ? std::optional{memory->clock} : std::nullopt};
    const auto report = attest::verify_quote(evidence, piece.policy.quote, verdict.findings);
    if (report.statement) tell_statement(**report.statement, verdict.facts);
    if (report.pcrs) {
        for (const auto& bank : (*report.pcrs)->banks) {
            Facts& values = verdict.facts["pcrs"][std::string{attest::hash_name(bank.alg)}];
            for (const auto& [pcr, digest] : bank.values) values[std::to_string(pcr)] = hex(digest.bytes());
        }
    }
    if (report.authentic) verdict.seen = (*report.authentic)->attest.clock_info;
    if (memory) verdict.counter = memory->counter;
    return verdict;
}

Verdict verify_nv(const Piece& piece) {
    const VerifyOptions& options = piece.options;
    Verdict verdict;
    const Blob signature = read_evidence(needed(options.signature, "--signature", options));
    const Blob key = read_key(needed(options.key, "--key", options));
    const Blob index = read_evidence(needed(options.nv_public, "--nv-public", options));
    verdict.signer = signer_of(key);
    const auto memory = piece.memory_of(verdict.signer);
    tpm::CounterPolicy counter = piece.policy.counter;
    if (memory) counter.at_least = std::max(counter.at_least.value_or(0), memory->counter);
    const auto report =
        attest::verify_nv_certify({.attest = piece.evidence,
                                   .signature = signature,
                                   .key = key,
                                   .trust = trust_of(piece, verdict.findings),
                                   .nv_public = index,
                                   .nonce = piece.nonce,
                                   .last_seen = memory ? std::optional{memory->clock} : std::nullopt},
                                  piece.policy.quote, counter, verdict.findings);
    if (report.statement) tell_statement(**report.statement, verdict.facts);
    if (report.authentic) verdict.seen = (*report.authentic)->attest.clock_info;
    if (report.counter) {
        verdict.counter = (*report.counter)->value;
        verdict.facts["counter"] = (*report.counter)->value;
    }
    return verdict;
}

/// PCR values that the user vouches for: a file, or those of the policy.
attest::Bound<tpm::PcrValues> known_of(const Piece& piece) {
    tpm::PcrValues known;
    const auto add = [&known](attest::HashAlg alg, std::uint32_t pcr, const attest::Digest& digest) {
        auto bank = std::ranges::find(known.banks, alg, &tpm::PcrValues::Bank::alg);
        if (bank == known.banks.end()) bank = known.banks.insert(bank, {.alg = alg, .values = {}});
        bank->values[pcr] = digest;
    };
    if (piece.options.pcrs.empty()) {
        for (const auto* const reference : {&piece.policy.quote.pcrs, &piece.policy.quote.drtm}) {
            for (const auto& [alg, values] : *reference) {
                for (const auto& [pcr, digest] : values) add(alg, pcr, digest);
            }
        }
        return tpm::known_pcrs(std::move(known));
    }
    for (const tpm::GivenPcrs& given : read_pcrs(piece.options.pcrs)) {
        const auto alg = attest::known_hash(given.bank);
        for (const auto& [pcr, bytes] : given.values) {
            const auto digest = alg ? attest::digest_from(*alg, bytes) : std::nullopt;
            if (!digest) {
                throw Failure{cli::Code::Evidence,
                              fmt::format("the values in '{}' are of no bank", printable(piece.options.pcrs)),
                              "a log is held against the bank that its digests are of",
                              "give {\"sha256\": {\"0\": \"hex\"}}"};
            }
            add(*alg, pcr, *digest);
        }
    }
    return tpm::known_pcrs(std::move(known));
}

Verdict verify_log(const Piece& piece, eventlog::Kind kind) {
    Verdict verdict;
    const auto log = eventlog::parse_log(piece.evidence, kind);
    if (!log) {
        verdict.findings.add(Code::LogMalformed, log.error().what);
        return verdict;
    }
    verdict.facts["events"] = (*log)->count;
    for (const eventlog::Bank& bank : (*log)->banks) {
        const auto alg = attest::known_hash(bank.alg);
        const auto replayed =
            alg ? eventlog::replay(*log, *alg) : Result<eventlog::Registers>{input_error("")};
        if (replayed)
            tell_registers(std::string{attest::hash_name(*alg)}.c_str(), *replayed, verdict.facts["replay"]);
    }
    const auto known = known_of(piece);
    const auto bound = eventlog::bind_log(*log, attest::vouched_by(known), verdict.findings);
    if (bound) eventlog::appraise_log(*bound, verdict.findings);
    return verdict;
}

Verdict verify_tcg_log(const Piece& piece) { return verify_log(piece, eventlog::Kind::Tcg); }
Verdict verify_cc_log(const Piece& piece) { return verify_log(piece, eventlog::Kind::Cc); }

Verdict verify_ima(const Piece& piece) {
    Verdict verdict;
    const auto list = ima::parse_list(piece.evidence, verdict.findings);
    if (!list) return verdict;
    verdict.facts["entries"] = (*list)->count;
    const auto vouched = attest::vouched_by(known_of(piece));
    std::vector<ima::BootPcrs> boot;
    for (const eventlog::Vouched& one : vouched) boot.push_back(one.values);
    bool held_against_any = false;
    for (const eventlog::Vouched& one : vouched) {
        if (!one.values[ima::kPcr]) continue;
        held_against_any = true;
        const auto covered = ima::bind_list(*list, *one.values[ima::kPcr], verdict.findings);
        if (!covered) continue;
        verdict.facts["entries_covered"] = (*covered)->entries;
        ima::appraise_list(*covered, boot, verdict.findings);
    }
    if (!held_against_any) verdict.findings.add(Code::ImaReplay, "nobody vouches for PCR 10");
    return verdict;
}

Verdict verify_snp(const Piece& piece) {
    const VerifyOptions& options = piece.options;
    Verdict verdict;
    auto verifier = verifier_of(piece.policy.snp_roots, "snp.roots");
    const Blob presented = read_evidence(needed(options.certificate, "--certificate", options));
    const auto helpers = read_certificates(options.chain);
    const auto crls = piece.crls();
    const auto report = attest::verify_snp(
        {.report = piece.evidence,
         .chain = {.presented = presented, .helpers = helpers, .crls = crls, .at = piece.at},
         .report_data = piece.nonce},
        verifier, piece.policy.snp, verdict.findings);
    if (report.report && !piece.nonce) verdict.findings.add(Code::TpmNonceNotAsked);
    tell_snp(report, verdict.facts);
    return verdict;
}

Verdict verify_tdx(const Piece& piece) {
    const VerifyOptions& options = piece.options;
    const auto read = [](const std::string& path) {
        return path.empty() ? std::nullopt : std::optional{read_evidence(path)};
    };
    Verdict verdict;
    auto verifier = verifier_of(piece.policy.tdx_roots, "tdx.roots");
    const auto collateral = read(options.collateral);
    const auto event_log = read(options.event_log);
    const auto helpers = read_certificates(options.chain);
    const auto crls = piece.crls();
    const auto report =
        attest::verify_tdx({.quote = piece.evidence,
                            .chain = {.presented = {}, .helpers = helpers, .crls = crls, .at = piece.at},
                            .collateral = collateral,
                            .event_log = event_log,
                            .report_data = piece.nonce},
                           verifier, piece.policy.tdx, verdict.findings);
    if (report.quote && !piece.nonce) verdict.findings.add(Code::TpmNonceNotAsked);
    tell_tdx(report, verdict.facts);
    return verdict;
}

struct Format {
    std::string_view name;
    Verdict (*verify)(const Piece&);
};
constexpr std::array kFormats{Format{"tpm-quote", verify_quote},   Format{"nv-certify", verify_nv},
                              Format{"event-log", verify_tcg_log}, Format{"ima-log", verify_ima},
                              Format{"ccel", verify_cc_log},       Format{"snp-report", verify_snp},
                              Format{"tdx-quote", verify_tdx}};

}  // namespace

std::string signer_of(std::span<const std::byte> key) {
    const auto parsed = tpm::parse_attestation_key(key);
    if (!parsed) return {};
    Sha256 digest;
    digest.update((*parsed)->key.spki());
    return hex(digest.finish());
}

Verdict verify_piece(const Piece& piece) {
    const auto* const format = std::ranges::find(kFormats, piece.options.format, &Format::name);
    check(format != kFormats.end(), "a format that the command line does not let through");
    Verdict verdict = format->verify(piece);
    for (const std::string& key : piece.policy.for_whole_evidence)
        verdict.findings.add(attest::Code::PolicyNotJudged, key);
    return verdict;
}

}  // namespace holdfast::cli
