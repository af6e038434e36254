// SPDX-License-Identifier: Apache-2.0
#include "attest/formats/ima/list.hpp"

#include <algorithm>
#include <string>

#include "attest/formats/ima/entry.hpp"

namespace holdfast::attest {

template <>
struct Voucher<ima::List, Stage::Parse> {
    static Parsed<ima::List> grant(ima::List list) { return Parsed<ima::List>{list}; }
};
template <>
struct Voucher<ima::Covered, Stage::Bind> {
    static Bound<ima::Covered> grant(ima::Covered covered) { return Bound<ima::Covered>{covered}; }
};

namespace ima {
namespace {

/// What the bank's PCR was extended with.
Digest extension_of(const Entry& entry, HashAlg bank) {
    if (entry.violation) {
        Digest ones{.alg = bank};
        std::ranges::fill(ones.bytes(), std::byte{0xff});
        return ones;
    }
    return hash(bank, entry.data);
}

/// The walk over a list that was parsed.
const Entry* next_of(Cursor& cursor) {
    const auto entry = cursor.next();
    check(entry.has_value(), "an IMA list that was parsed does not parse");
    return *entry;
}

/// The binary form begins with a PCR as a number of four bytes; no text has a zero.
bool looks_binary(std::span<const std::byte> bytes) { return bytes.size() > 1 && bytes[1] == std::byte{0}; }

std::optional<Digest> aggregate_of(const BootPcrs& pcrs, HashAlg alg, std::size_t count) {
    Hasher hasher{alg};
    for (std::size_t i = 0; i < count; ++i) {
        if (i >= pcrs.size() || !pcrs[i] || pcrs[i]->alg != alg) return std::nullopt;
        hasher.update(pcrs[i]->bytes());
    }
    return hasher.finish();
}

/// PCRs 0-7, and since Linux 5.8 0-9 with hashes other than SHA-1. Which of both this kernel took is not
/// told, so that neither is the sum shows only where all are known.
void appraise_aggregate(const Entry& entry, std::span<const BootPcrs> banks, Findings& findings) {
    const HashAlg alg = entry.file_alg.value_or(HashAlg::Sha1);
    const auto is_sum = [&](const std::optional<Digest>& sum) {
        return sum && entry.file_alg && std::ranges::equal(sum->bytes(), entry.file_digest);
    };
    bool refuted = false;
    for (const BootPcrs& bank : banks) {
        const auto firmware = aggregate_of(bank, alg, 8);
        const auto more = alg == HashAlg::Sha1 ? firmware : aggregate_of(bank, alg, 10);
        if (is_sum(firmware) || is_sum(more)) return;
        refuted = refuted || (entry.file_alg && more);
    }
    findings.add(refuted ? Code::ImaBootAggregate : Code::ImaBootAggregateUnknown);
}

}  // namespace

Result<const Entry*> Cursor::next() {
    if (binary_) {
        if (rest_.empty()) return nullptr;
        entry_ = HF_TRY(take_binary(rest_));
        return &entry_;
    }
    // Bounded: each turn takes one byte of the list at least.
    while (!rest_.empty()) {
        const auto end = std::ranges::find(rest_, std::byte{'\n'});
        const auto size = static_cast<std::size_t>(end - rest_.begin());
        // SAFETY: bytes as characters.
        const std::string_view line{reinterpret_cast<const char*>(rest_.data()), size};
        rest_ = rest_.subspan(std::min(size + 1, rest_.size()));
        if (line.empty()) continue;
        entry_ = HF_TRY(read_line(line));
        return &entry_;
    }
    return nullptr;
}

std::optional<Parsed<List>> parse_list(std::span<const std::byte> bytes, Findings& findings) {
    List list{.bytes = bytes, .binary = looks_binary(bytes), .count = 0};
    Cursor cursor{list};
    while (true) {
        const auto entry = cursor.next();
        if (!entry) {
            findings.add(Code::ImaMalformed,
                         "entry " + std::to_string(list.count + 1) + ": " + entry.error().what);
            return std::nullopt;
        }
        if (*entry == nullptr) break;
        ++list.count;
        if (!has_right_hash(**entry)) {
            findings.add(Code::ImaTemplateHash,
                         "entry " + std::to_string(list.count) + ", " + std::string{(*entry)->path});
        }
    }
    if (findings.has(Code::ImaTemplateHash)) return std::nullopt;
    return Voucher<List, Stage::Parse>::grant(list);
}

Digest replay(const Parsed<List>& list, HashAlg bank) {
    Digest pcr{.alg = bank};
    Cursor cursor{*list};
    while (const Entry* const entry = next_of(cursor)) {
        if (entry->pcr == kPcr) pcr = extended(pcr, extension_of(*entry, bank).bytes());
    }
    return pcr;
}

std::optional<Bound<Covered>> bind_list(const Parsed<List>& list, const Digest& pcr10, Findings& findings) {
    Digest pcr{.alg = pcr10.alg};
    std::size_t entries = 0;
    Cursor cursor{*list};
    while (pcr != pcr10) {
        const Entry* const entry = next_of(cursor);
        if (entry == nullptr) {
            findings.add(Code::ImaReplay);
            return std::nullopt;
        }
        ++entries;
        if (entry->pcr == kPcr) pcr = extended(pcr, extension_of(*entry, pcr10.alg).bytes());
    }
    return Voucher<Covered, Stage::Bind>::grant({.list = *list, .entries = entries});
}

void appraise_list(const Bound<Covered>& covered, std::span<const BootPcrs> banks, Findings& findings) {
    constexpr std::string_view kAggregate = "boot_aggregate";
    Cursor cursor{covered->list};
    for (std::size_t i = 0; i < covered->entries; ++i) {
        const Entry* const entry = next_of(cursor);
        if (i == 0 && entry->path == kAggregate) appraise_aggregate(*entry, banks, findings);
        if (i == 0 && entry->path != kAggregate)
            findings.add(Code::ImaBootAggregate, "it is not the first entry");
        if (entry->violation) findings.add(Code::ImaViolation, entry->path);
    }
    if (covered->entries == 0) findings.add(Code::ImaBootAggregate, "there is none");
}

}  // namespace ima
}  // namespace holdfast::attest
