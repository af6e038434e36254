// SPDX-License-Identifier: Apache-2.0
// Kinds eventlog, ccel and ima: logs by themselves, held against PCR values that the case gives, if it does.
#include "attest/formats/eventlog/appraise.hpp"
#include "attest/formats/eventlog/replay.hpp"
#include "attest/formats/ima/list.hpp"
#include "sys/sha2.hpp"
#include "tests/attest/vectors/kinds.hpp"

namespace holdfast::attest::vectors {
namespace {

std::vector<HashAlg> banks_of(const eventlog::EventLog& log) {
    std::vector<HashAlg> banks;
    for (const eventlog::Bank& bank : log.banks) {
        if (const auto alg = known_hash(bank.alg)) banks.push_back(*alg);
    }
    return banks;
}

/// "against": {"sha256": {"0": hex}}
std::vector<eventlog::Vouched> vouched_by(const Json& against) {
    std::vector<eventlog::Vouched> all;
    for (const auto& [name, values] : against.items()) {
        const auto alg = hash_of_name(name);
        if (!alg) throw BadCase{"PCR values of a bank that is not known: " + name};
        eventlog::Vouched& one = all.emplace_back(eventlog::Vouched{.bank = *alg, .values = {}});
        one.values.resize(eventlog::registers_of(eventlog::Kind::Tcg));
        for (const auto& [pcr, bytes] : pcrs_of(values)) {
            const auto digest = digest_from(*alg, bytes);
            if (!digest || pcr >= one.values.size()) throw BadCase{"a PCR value that there cannot be"};
            one.values[pcr] = *digest;
        }
    }
    return all;
}

}  // namespace

Outcome judge_eventlog(const Case& test) {
    Outcome outcome;
    const Bytes bytes = test.file("eventlog");
    const auto log = eventlog::parse_log(bytes, eventlog::Kind::Tcg);
    outcome.fields["parses"] = log.has_value();
    if (!log) {
        outcome.findings.add(Code::LogMalformed, log.error().what);
        outcome.policy_accepts = false;
        return outcome;
    }
    std::vector<eventlog::Vouched> own;
    for (const HashAlg bank : banks_of(**log)) {
        auto replayed = eventlog::replay(*log, bank);
        if (!replayed) continue;
        Json values = Json::object();
        for (std::size_t i = 0; i < replayed->size(); ++i) {
            if ((*replayed)[i]) values[std::to_string(i)] = hex((*replayed)[i]->bytes());
        }
        outcome.fields["replays_to"][std::string{hash_name(bank)}] = values;
        own.push_back({.bank = bank, .values = std::move(*replayed)});
    }
    // Without PCR values to hold it against, only what the log says of itself is judged.
    const auto& json = test.json();
    const auto vouched = json.contains("against") ? vouched_by(json["against"]) : own;
    const auto bound = eventlog::bind_log(*log, vouched, outcome.findings);
    outcome.fields["replay_matches_pcrs"] = bound.has_value();
    if (bound) eventlog::appraise_log(*bound, outcome.findings);
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

Outcome judge_ccel(const Case& test) {
    Outcome outcome;
    const Bytes bytes = test.file("ccel");
    const auto log = eventlog::parse_log(bytes, eventlog::Kind::Cc);
    outcome.fields["parses"] = log.has_value();
    const auto replayed = log ? eventlog::replay(*log, HashAlg::Sha384) : log.error();
    if (!replayed) {
        outcome.findings.add(Code::LogMalformed, replayed.error().what);
        outcome.policy_accepts = false;
        return outcome;
    }
    outcome.fields["rtmr"] = Json::array();
    for (std::size_t i = 1; i < replayed->size(); ++i) {  // register 0 is MRTD
        const Digest value = (*replayed)[i].value_or(Digest{.alg = HashAlg::Sha384});
        outcome.fields["rtmr"].push_back(hex(value.bytes()));
    }
    const eventlog::Vouched own{.bank = HashAlg::Sha384, .values = *replayed};
    if (const auto bound = eventlog::bind_log(*log, std::span{&own, 1}, outcome.findings)) {
        eventlog::appraise_log(*bound, outcome.findings);
    }
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

Outcome judge_ima(const Case& test) {
    Outcome outcome;
    const Bytes bytes = test.file("ima");
    const auto list = ima::parse_list(bytes, outcome.findings);
    outcome.fields["parses"] = !outcome.findings.has(Code::ImaMalformed);
    outcome.fields["template_hashes_ok"] = !outcome.findings.has(Code::ImaTemplateHash);
    if (list) {
        for (const HashAlg bank : kHashAlgs) {
            outcome.fields["pcr10_" + std::string{hash_name(bank)}] = hex(ima::replay(*list, bank).bytes());
        }
    }
    outcome.policy_accepts = outcome.findings.is_accepted();
    return outcome;
}

}  // namespace holdfast::attest::vectors
