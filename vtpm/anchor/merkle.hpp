// SPDX-License-Identifier: Apache-2.0
// A Merkle tree over the leaves of all vTPMs, each in a slot of its own that it keeps. Leaf hash:
// SHA-256(0x00 | leaf); node: SHA-256(0x01 | left | right); a slot or subtree without a leaf is zero.
#pragma once

#include <span>
#include <vector>

#include "vtpm/anchor/leaf.hpp"

namespace holdfast::anchor {

inline constexpr std::uint32_t kMaxSlots = 1U << 20;  ///< vTPMs on one host, ever

struct SlotLeaf {
    std::uint32_t slot = 0;
    Leaf leaf;
};

class MerkleTree {
public:
    /// Slots are below kMaxSlots; the tree grows to hold them.
    void set(std::span<const SlotLeaf> leaves);
    [[nodiscard]] Digest root() const noexcept { return nodes_[1]; }
    /// Siblings from the leaf up; empty for a tree of one slot.
    [[nodiscard]] std::vector<Digest> path(std::uint32_t slot) const;

private:
    [[nodiscard]] std::uint32_t capacity() const noexcept {
        return static_cast<std::uint32_t>(nodes_.size() / 2);
    }
    void grow(std::uint32_t slots);
    void rehash(std::size_t node);
    std::vector<Digest> nodes_ = std::vector<Digest>(2);  ///< 1 is the root, capacity() + slot a leaf
};

[[nodiscard]] Digest leaf_hash(const Leaf& leaf);
/// The root that a leaf in `slot` with these siblings belongs to: what a verifier computes.
[[nodiscard]] Digest root_of(const Leaf& leaf, std::uint32_t slot, std::span<const Digest> path);

}  // namespace holdfast::anchor
