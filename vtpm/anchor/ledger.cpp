// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/ledger.hpp"

#include <algorithm>

namespace holdfast::anchor {

const Leaf* Ledger::find(const VmId& vm) const {
    const auto at = slots_.find(vm);
    return at == slots_.end() ? nullptr : &leaves_[at->second];
}

std::vector<SlotLeaf> Ledger::set(std::span<const Leaf> leaves) {
    std::vector<SlotLeaf> placed;
    placed.reserve(leaves.size());
    for (const Leaf& leaf : leaves) {
        const auto [at, fresh] = slots_.try_emplace(leaf.vm, static_cast<std::uint32_t>(leaves_.size()));
        if (fresh) leaves_.push_back(leaf);
        else leaves_[at->second] = leaf;
        placed.push_back({at->second, leaf});
    }
    tree_.set(placed);
    return placed;
}

std::vector<SlotLeaf> Ledger::all() const {
    std::vector<SlotLeaf> all;
    all.reserve(leaves_.size());
    for (std::uint32_t slot = 0; slot < leaves_.size(); ++slot) all.push_back({slot, leaves_[slot]});
    return all;
}

Result<Ledger::Proof> Ledger::prove(const VmId& vm) const {
    const auto at = slots_.find(vm);
    if (at == slots_.end()) return peer_fault("no such vTPM in the ledger");
    return Proof{at->second, tree_.path(at->second)};
}

/// Slots are given out in order, so a record's new leaves continue where the ledger ends.
Result<void> Ledger::apply(std::span<const SlotLeaf> leaves) {
    for (const SlotLeaf& each : leaves) {
        if (each.slot > leaves_.size()) return peer_fault("record skips a slot");
        if (each.slot == leaves_.size()) {
            if (!slots_.try_emplace(each.leaf.vm, each.slot).second)
                return peer_fault("vTPM is in two slots");
            leaves_.push_back(each.leaf);
        } else if (leaves_[each.slot].vm != each.leaf.vm) {
            return peer_fault("slot changed its vTPM");
        } else {
            leaves_[each.slot] = each.leaf;
        }
    }
    tree_.set(leaves);
    return {};
}

/// Walks a log from its first record on. Whatever breaks the chain ends it.
class Replay {
public:
    Replay(std::span<const std::byte> log, std::span<const std::byte> key) : rest_{log}, key_{key} {}

    /// The next record of the chain, or none: the log ends here.
    std::optional<Record> next() {
        auto decoded = decode_record(rest_, key_);
        if (!decoded) return {};
        Record& record = decoded->record;
        const bool first = !previous_;
        if (record.whole != first) return {};
        if (!first && (record.previous != hash_ || record.o != previous_->o + 1)) return {};
        if (!ledger_.apply(record.leaves) || ledger_.root() != record.root) return {};
        record.leaves.clear();
        rest_ = rest_.subspan(decoded->bytes);
        hash_ = decoded->hash;
        previous_ = record;
        return record;
    }
    [[nodiscard]] Found here() const { return {ledger_, *previous_, hash_}; }
    [[nodiscard]] bool stops_at_something() const {
        return std::ranges::any_of(rest_, [](std::byte each) { return each != std::byte{}; });
    }

private:
    std::span<const std::byte> rest_;
    std::span<const std::byte> key_;
    Ledger ledger_;
    std::optional<Record> previous_;
    Digest hash_{};
};

LogSummary read_log(std::span<const std::byte> log, std::span<const std::byte> key,
                    const std::function<bool(const Record&)>& wanted) {
    LogSummary summary;
    Replay replay{log, key};
    // Ends: each record takes bytes off the log.
    while (const auto record = replay.next()) {
        summary.newest_o = record->o;
        if (!summary.found && wanted(*record)) summary.found = replay.here();
    }
    summary.damaged = replay.stops_at_something();
    return summary;
}

}  // namespace holdfast::anchor
