// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/tpm/appraise.hpp"

#include <algorithm>
#include <string>
#include <tuple>

#include "sys/sha2.hpp"

namespace holdfast::attest::tpm {
namespace {

constexpr std::uint32_t kSrtmPcrs = 8;  // PCRs 0-7: firmware and what it loads (TCG PFP 1.05, §2.3.4)
constexpr std::uint32_t kDrtmFirst = 17;
constexpr std::uint32_t kDrtmLast = 22;

std::string place(HashAlg alg, std::uint32_t pcr) {
    return std::string{hash_name(alg)} + " PCR " + std::to_string(pcr);
}

bool allows(const QuotePolicy& policy, HashAlg alg) {
    return std::ranges::find(policy.hashes, alg) != policy.hashes.end();
}

bool is_all(const Digest& digest, std::byte value) {
    return std::ranges::all_of(digest.bytes(), [value](std::byte byte) { return byte == value; });
}

/// Older than what was seen, or earlier in the same stretch of the clock.
bool went_back(const ClockInfo& now, const LastSeen& before) {
    const auto counts_now = std::tuple{now.reset_count, now.restart_count};
    const auto counts_before = std::tuple{before.reset_count, before.restart_count};
    if (counts_now != counts_before) return counts_now < counts_before;
    return now.clock < before.clock;
}

void compare(const Bound<PcrValues>& pcrs, const ReferencePcrs& reference, Code code, Findings& findings) {
    for (const auto& [alg, values] : reference) {
        for (const auto& [pcr, digest] : values) {
            const Digest* const found = pcrs->find(alg, pcr);
            // One that was not quoted is a finding of the selection.
            if (found == nullptr || *found == digest) continue;
            findings.add(code, place(alg, pcr) + " is " + hex(found->bytes()));
        }
    }
}

void appraise_srtm(const PcrValues::Bank& bank, Findings& findings) {
    for (std::uint32_t pcr = 0; pcr < kSrtmPcrs; ++pcr) {
        const auto value = bank.values.find(pcr);
        if (value == bank.values.end() || !is_all(value->second, std::byte{0})) continue;
        findings.add(Code::SrtmUnmeasured, place(bank.alg, pcr) + " is zero");
    }
}

// At power-on PCRs 17-22 are ff…ff; a dynamic launch makes them 0 and then extends them.
void appraise_drtm(const PcrValues::Bank& bank, bool required, Findings& findings) {
    const auto first = bank.values.find(kDrtmFirst);
    if (first == bank.values.end()) return;
    if (is_all(first->second, std::byte{0})) findings.add(Code::DrtmUnmeasured, place(bank.alg, kDrtmFirst));
    if (!required) return;
    for (std::uint32_t pcr = kDrtmFirst; pcr <= kDrtmLast; ++pcr) {
        const auto value = bank.values.find(pcr);
        if (value != bank.values.end() && !is_all(value->second, std::byte{0xff})) return;
    }
    findings.add(Code::DrtmNone, "PCRs 17-22 are as at power-on");
}

bool selects(const QuoteBody& body, HashAlg alg, std::uint32_t pcr) {
    return std::ranges::any_of(body.selection, [&](const tpm2::PcrBank& bank) {
        return bank.alg == static_cast<std::uint16_t>(alg) && (bank.pcrs >> pcr & 1) != 0;
    });
}

bool selects_in_any(const QuoteBody& body, const QuotePolicy& policy, std::uint32_t pcr) {
    return std::ranges::any_of(policy.hashes, [&](HashAlg alg) { return selects(body, alg, pcr); });
}

}  // namespace

void appraise_statement(const Authenticated<Signed>& statement, const QuotePolicy& policy,
                        const std::optional<LastSeen>& last_seen, Findings& findings) {
    if (!allows(policy, statement->hash)) {
        findings.add(Code::TpmSignatureHash, std::string{hash_name(statement->hash)});
    }
    if (statement->key_kind == KeyKind::Rsa && statement->key_bits < policy.min_rsa_bits) {
        findings.add(Code::TpmKeyWeak, "RSA of " + std::to_string(statement->key_bits) + " bits");
    }
    const ClockInfo& clock = statement->attest.clock_info;
    if (last_seen && went_back(clock, *last_seen)) {
        findings.add(Code::TpmClockBack, "clock " + std::to_string(clock.clock) + ", seen before " +
                                             std::to_string(last_seen->clock));
    }
    if (!clock.safe) findings.add(Code::TpmClockUnsafe);
}

void appraise_selection(const Authenticated<Signed>& quote, const QuotePolicy& policy, Findings& findings) {
    const auto* const body = std::get_if<QuoteBody>(&quote->attest.body);
    check(body != nullptr, "selection of a statement that is no quote");
    for (const tpm2::PcrBank& bank : body->selection) {
        const auto alg = known_hash(bank.alg);
        if (bank.pcrs == 0 || (alg && allows(policy, *alg))) continue;
        findings.add(Code::TpmBank, alg ? std::string{hash_name(*alg)} : std::to_string(bank.alg));
    }
    for (std::uint32_t pcr = 0; policy.measured_boot && pcr < kSrtmPcrs; ++pcr) {
        if (selects_in_any(*body, policy, pcr)) continue;
        findings.add(Code::TpmSelection, "PCR " + std::to_string(pcr));
    }
    if (policy.drtm_required && !selects_in_any(*body, policy, kDrtmFirst)) {
        findings.add(Code::TpmSelection, "PCR " + std::to_string(kDrtmFirst));
    }
    for (const ReferencePcrs* const reference : {&policy.pcrs, &policy.drtm}) {
        for (const auto& [alg, values] : *reference) {
            for (const auto& [pcr, digest] : values) {
                if (!selects(*body, alg, pcr)) findings.add(Code::TpmSelection, place(alg, pcr));
            }
        }
    }
}

void appraise_pcrs(const Bound<PcrValues>& pcrs, const QuotePolicy& policy, Findings& findings) {
    for (const PcrValues::Bank& bank : pcrs->banks) {
        if (policy.measured_boot) appraise_srtm(bank, findings);
        appraise_drtm(bank, policy.drtm_required, findings);
    }
    compare(pcrs, policy.pcrs, Code::SrtmPcr, findings);
    compare(pcrs, policy.drtm, Code::DrtmPcr, findings);
}

}  // namespace holdfast::attest::tpm
