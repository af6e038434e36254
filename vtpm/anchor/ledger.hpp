// SPDX-License-Identifier: Apache-2.0
// The leaves of all vTPMs in memory, with their tree; and the same read back from a log.
#pragma once

#include <functional>
#include <map>
#include <optional>

#include "vtpm/anchor/record.hpp"

namespace holdfast::anchor {

class Ledger {
public:
    [[nodiscard]] const Leaf* find(const VmId& vm) const;
    [[nodiscard]] const std::vector<Leaf>& leaves() const noexcept { return leaves_; }
    [[nodiscard]] Digest root() const noexcept { return tree_.root(); }
    [[nodiscard]] bool is_full() const noexcept { return leaves_.size() >= kMaxSlots; }

    /// Puts leaves in, a new vTPM's into the next free slot, and tells where they are.
    std::vector<SlotLeaf> set(std::span<const Leaf> leaves);
    [[nodiscard]] std::vector<SlotLeaf> all() const;

    struct Proof {
        std::uint32_t slot = 0;
        std::vector<Digest> path;
    };
    /// Peer error: no such vTPM.
    Result<Proof> prove(const VmId& vm) const;

private:
    friend class Replay;
    Result<void> apply(std::span<const SlotLeaf> leaves);
    std::vector<Leaf> leaves_;  ///< by slot
    std::map<VmId, std::uint32_t> slots_;
    MerkleTree tree_;
};

/// What a log says, up to the first record that `wanted` accepts.
struct Found {
    Ledger ledger;
    Record record;  ///< without its leaves
    Digest hash{};
};
struct LogSummary {
    std::optional<Found> found;
    std::uint64_t newest_o = 0;  ///< of all records that authenticate; 0: there are none
    bool damaged = false;        ///< something that is not a record lies behind the last one
};
LogSummary read_log(std::span<const std::byte> log, std::span<const std::byte> key,
                    const std::function<bool(const Record&)>& wanted);

}  // namespace holdfast::anchor
