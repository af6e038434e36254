// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/anchor.hpp"

#include <algorithm>

#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

// A file is begun anew when it is this long and most of it is history.
constexpr std::uint64_t kTurnBytes = 16ULL << 20;

std::unexpected<Refusal> refuse(Refused state, const Error& error = {}) {
    return std::unexpected{Refusal{state, error}};
}

struct Candidate {
    Found found;
    std::uint32_t file = 0;
};

/// What both files hold, and the one record in them that is wanted: the newest, if there are two.
struct Search {
    std::optional<Candidate> candidate;
    std::uint64_t newest_o = 0;
    bool damaged = false;
};

Search search(const std::array<std::vector<std::byte>, kLogFiles>& logs, std::span<const std::byte> key,
              const std::function<bool(const Record&)>& wanted) {
    Search result;
    for (std::uint32_t file = 0; file < kLogFiles; ++file) {
        LogSummary summary = read_log(logs[file], key, wanted);
        result.newest_o = std::max(result.newest_o, summary.newest_o);
        result.damaged = result.damaged || summary.damaged;
        if (!summary.found) continue;
        if (result.candidate && result.candidate->found.record.o >= summary.found->record.o) continue;
        result.candidate = Candidate{std::move(*summary.found), file};
    }
    return result;
}

Refused why_not(const Search& seen) {
    if (seen.damaged) return Refused::LogDamaged;
    return seen.newest_o == 0 ? Refused::LogMissing : Refused::LogOld;
}

}  // namespace

std::expected<std::unique_ptr<Anchor>, Refusal> Anchor::open(const Setup& setup) {
    // FENCE: from here on every older instance's reads and increments fail.
    if (auto fenced = setup.counters.fence(); !fenced) return std::unexpected{fenced.error()};
    // READ, under the new authValues: a read that anybody could make would be worth nothing.
    const auto at = setup.counters.read();
    if (!at) return refuse(Refused::TpmUnreachable, at.error());
    // LOAD
    auto loaded = load(setup, *at);
    if (!loaded) return loaded;
    Anchor& anchor = **loaded;
    std::vector<Leaf> marked;
    if (anchor.adopted_) {
        marked = anchor.ledger_.leaves();
        for (Leaf& leaf : marked) {
            ++leaf.gaps;
            // The blob of that time is long overwritten; a later one is at least not older.
            leaf.permanent = leaf.volatile_state = {};
            if (leaf.status == Status::Running) leaf.status = Status::Stopped;
        }
    }
    // BURN, O and S: a record that a crashed instance left behind can never fit again. Then a checkpoint
    // of our own: the first one's number might be that of such an orphan.
    if (auto begun = anchor.begin_file(marked); !begun) return refuse(anchor.cause(), begun.error());
    if (auto moved = anchor.commit({}, Strength::Strict); !moved)
        return refuse(anchor.cause(), moved.error());
    return loaded;
}

std::expected<std::unique_ptr<Anchor>, Refusal> Anchor::load(const Setup& setup, const Reading& at) {
    std::array<std::vector<std::byte>, kLogFiles> logs;
    for (std::uint32_t file = 0; file < kLogFiles; ++file) {
        auto bytes = setup.files.read(file);
        if (!bytes) return refuse(Refused::Disk, bytes.error());
        logs[file] = std::move(*bytes);
    }
    const auto key = setup.key.bytes();
    Search fits = search(logs, key, [&](const Record& record) { return record.o == at.o; });
    // One record may be ahead of the counter, whoever wrote it; a second one was never written.
    if (fits.newest_o > at.o + 1) return refuse(Refused::TpmWentBack);
    bool adopt = false;
    if (!fits.candidate) {
        const std::uint64_t bits = setup.counters.jump_bits();
        Search checkpoint = search(logs, key, [&](const Record& record) {
            return record.kind == RecordKind::Checkpoint && record.s == at.s &&
                   record.reset_count < at.reset_count;
        });
        const bool jumped = (at.o & bits) == bits && checkpoint.candidate;
        if (!jumped) return refuse(why_not(fits));
        if (setup.on_power_loss == OnPowerLoss::Refuse) return refuse(Refused::PowerLoss);
        fits = std::move(checkpoint);
        adopt = true;
    }
    std::unique_ptr<Anchor> anchor{
        new Anchor{setup, std::move(fits.candidate->found), at, fits.candidate->file}};
    anchor->adopted_ = adopt;
    return anchor;
}

Result<void> Anchor::found(const Setup& setup, const Reading& at) {
    Anchor anchor{setup, Found{}, at, 1};
    return anchor.begin_file({});
}

Anchor::Anchor(const Setup& setup, Found found, Reading at, std::uint32_t file)
    : files_{setup.files},
      counters_{setup.counters},
      key_{setup.key},
      ledger_{std::move(found.ledger)},
      at_{at},
      hash_{found.hash},
      file_{file} {
    random_bytes(instance_);
}

template <typename T>
Result<T> Anchor::died(Result<T> result) {
    if (!result) dead_ = true;
    return result;
}

template <typename T>
Result<T> Anchor::tpm_said(Result<T> result) {
    if (!result) tpm_failed_ = true;
    return result;
}

Record Anchor::next_record(Strength strength) const {
    const bool strict = strength == Strength::Strict;
    return {.kind = strict ? RecordKind::Checkpoint : RecordKind::Commit,
            .o = at_.o + 1,
            .s = at_.s + (strict ? 1 : 0),
            .reset_count = at_.reset_count,
            .anchor = instance_,
            .previous = hash_,
            .root = ledger_.root(),
            .leaves = {}};
}

/// Every leaf and `changes` into the other file, as a checkpoint. The file that holds the newest record,
/// and the newest checkpoint, stays as it is until both counters have moved past it.
Result<void> Anchor::begin_file(std::span<const Leaf> changes) {
    file_ = 1 - file_;
    ledger_.set(changes);
    Record record = next_record(Strength::Strict);
    record.whole = true;
    record.previous = {};
    record.leaves = ledger_.all();
    HF_TRY(died(files_.empty(file_)));
    file_bytes_ = 0;
    HF_TRY(died(write(record)));
    return died(advance(Strength::Strict));
}

Result<void> Anchor::commit(std::span<const Leaf> changes, Strength strength) {
    if (dead_) return input_error("this anchor has ended; a new one must take over");
    if (file_bytes_ > kTurnBytes && file_bytes_ > 8 * ledger_.leaves().size() * kLeafBytes) {
        return begin_file(changes);
    }
    // A vTPM is born strictly: one that a power cut made unknown would carry no gap when it is made anew.
    const bool births =
        std::ranges::any_of(changes, [&](const Leaf& each) { return ledger_.find(each.vm) == nullptr; });
    if (births) strength = Strength::Strict;
    const auto placed = ledger_.set(changes);
    Record record = next_record(strength);
    record.leaves = placed;
    HF_TRY(died(write(record)));
    return died(advance(strength));
}

Result<void> Anchor::write(const Record& record) {
    const auto bytes = encode(record, key_.bytes());
    HF_TRY(files_.append(file_, bytes));
    // A sync that failed is never repeated: the kernel may have dropped what it could not write.
    HF_TRY(files_.sync(file_));
    file_bytes_ += bytes.size();
    hash_ = sha256({bytes});
    return {};
}

Result<void> Anchor::advance(Strength strength) {
    HF_TRY(tpm_said(counters_.advance_o()));
    ++at_.o;
    if (strength == Strength::Ordinary) return {};
    HF_TRY(tpm_said(counters_.advance_s()));
    ++at_.s;
    return {};
}

Result<void> Anchor::confirm() {
    if (dead_) return input_error("this anchor has ended; a new one must take over");
    const Reading now = HF_TRY(died(tpm_said(counters_.read())));
    if (now.o == at_.o && now.s == at_.s && now.reset_count == at_.reset_count) return {};
    dead_ = tpm_failed_ = true;
    return input_error("the TPM's counters are not where this anchor left them");
}

}  // namespace holdfast::anchor
