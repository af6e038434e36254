// SPDX-License-Identifier: Apache-2.0
#include "vtpm/anchor/merkle.hpp"

#include <algorithm>
#include <bit>

#include "vtpm/anchor/hash.hpp"

namespace holdfast::anchor {
namespace {

constexpr std::array kLeafTag{std::byte{0}};
constexpr std::array kNodeTag{std::byte{1}};

Digest node_hash(const Digest& left, const Digest& right) {
    if (left == Digest{} && right == Digest{}) return {};
    return sha256({kNodeTag, left, right});
}

}  // namespace

Digest leaf_hash(const Leaf& leaf) { return sha256({kLeafTag, encode(leaf)}); }

void MerkleTree::set(std::span<const SlotLeaf> leaves) {
    std::uint32_t slots = 0;
    for (const SlotLeaf& each : leaves) {
        check(each.slot < kMaxSlots, "slot beyond the tree");
        slots = std::max(slots, each.slot + 1);
    }
    if (slots > capacity()) grow(slots);
    for (const SlotLeaf& each : leaves) nodes_[capacity() + each.slot] = leaf_hash(each.leaf);
    // Paths of few leaves, or once the whole tree.
    if (leaves.size() * static_cast<std::size_t>(std::bit_width(capacity())) < capacity()) {
        for (const SlotLeaf& each : leaves) {
            for (std::size_t at = (capacity() + each.slot) / 2; at > 0; at /= 2) rehash(at);
        }
    } else {
        for (std::size_t at = capacity() - 1; at > 0; --at) rehash(at);
    }
}

void MerkleTree::rehash(std::size_t node) {
    nodes_[node] = node_hash(nodes_[2 * node], nodes_[2 * node + 1]);
}

void MerkleTree::grow(std::uint32_t slots) {
    std::vector<Digest> wider(std::size_t{2} * std::bit_ceil(slots));
    std::ranges::copy(std::span{nodes_}.subspan(capacity()),
                      wider.begin() + static_cast<std::ptrdiff_t>(wider.size() / 2));
    nodes_ = std::move(wider);
    for (std::size_t at = capacity() - 1; at > 0; --at) rehash(at);
}

std::vector<Digest> MerkleTree::path(std::uint32_t slot) const {
    check(slot < capacity(), "slot beyond the tree");
    std::vector<Digest> siblings;
    for (std::size_t at = capacity() + slot; at > 1; at /= 2) siblings.push_back(nodes_[at ^ 1U]);
    return siblings;
}

Digest root_of(const Leaf& leaf, std::uint32_t slot, std::span<const Digest> path) {
    Digest hash = leaf_hash(leaf);
    for (const Digest& sibling : path) {
        hash = (slot & 1U) != 0 ? node_hash(sibling, hash) : node_hash(hash, sibling);
        slot >>= 1;
    }
    return hash;
}

}  // namespace holdfast::anchor
