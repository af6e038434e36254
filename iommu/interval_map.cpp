// SPDX-License-Identifier: Apache-2.0
#include "iommu/interval_map.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace holdfast::iommu {
namespace {

/// A mapping without its start, which lies apart: a search reads starts only. Whatever fits into 24 bytes:
/// a leaf is eight cache lines then. 43 bits of milliseconds last until 2248, and a policy of a million rules
/// is larger than a policy may be.
struct Rest {
    std::uint64_t size = 0;
    std::uint64_t target = 0;
    std::uint64_t granted_at : 43 = 0;
    std::uint64_t rule : 20 = 0;
    std::uint64_t may_write : 1 = 0;
};
static_assert(sizeof(Rest) == 24);

/// Up to N items in the order of their starts.
template <typename Item, std::size_t N>
struct Row {
    static constexpr std::size_t kCapacity = N;
    static constexpr std::size_t kStep = (N + 1) / 4;
    std::array<std::uint64_t, N + 1> starts;  ///< behind the last item all ones, which no search goes past
    std::array<Item, N> items;
    std::uint64_t count = 0;

    Row() noexcept { starts.fill(~0ULL); }

    /// How many items start at `key` or before it. No branch, and at most one read that waits for another:
    /// the processor asks memory for all of a row's lines at once.
    [[nodiscard]] std::size_t up_to(std::uint64_t key) const noexcept {
        std::size_t base = 0;
        for (std::size_t i = 1; i < 4; ++i) base += starts[i * kStep - 1] <= key ? kStep : 0;
        std::size_t upto = base;
        for (std::size_t i = 0; i < kStep; ++i) upto += starts[base + i] <= key ? 1U : 0U;
        return std::min(upto, count);
    }
    void insert(std::size_t at, std::uint64_t start, Item item) noexcept {
        std::copy_backward(starts.begin() + at, starts.begin() + count, starts.begin() + count + 1);
        std::copy_backward(items.begin() + at, items.begin() + count, items.begin() + count + 1);
        starts[at] = start;
        items[at] = item;
        ++count;
    }
    void erase(std::size_t at) noexcept {
        std::copy(starts.begin() + at + 1, starts.begin() + count, starts.begin() + at);
        std::copy(items.begin() + at + 1, items.begin() + count, items.begin() + at);
        shorten_to(count - 1);
    }
    void shorten_to(std::size_t length) noexcept {
        std::fill(starts.begin() + length, starts.begin() + count, ~0ULL);
        count = length;
    }
    /// The last `moved` items go to the front of `right`.
    void give_to_right(Row& right, std::size_t moved) noexcept {
        std::copy_backward(right.starts.begin(), right.starts.begin() + right.count,
                           right.starts.begin() + right.count + moved);
        std::copy_backward(right.items.begin(), right.items.begin() + right.count,
                           right.items.begin() + right.count + moved);
        std::copy(starts.begin() + (count - moved), starts.begin() + count, right.starts.begin());
        std::copy(items.begin() + (count - moved), items.begin() + count, right.items.begin());
        right.count += moved;
        shorten_to(count - moved);
    }
    /// The first `moved` items of `right` are appended here.
    void take_from_right(Row& right, std::size_t moved) noexcept {
        std::copy(right.starts.begin(), right.starts.begin() + moved, starts.begin() + count);
        std::copy(right.items.begin(), right.items.begin() + moved, items.begin() + count);
        count += moved;
        std::copy(right.starts.begin() + moved, right.starts.begin() + right.count, right.starts.begin());
        std::copy(right.items.begin() + moved, right.items.begin() + right.count, right.items.begin());
        right.shorten_to(right.count - moved);
    }
};

}  // namespace

/// A leaf or an inner node: its height says which. Every one but the root is at least half full.
struct IntervalMap::Node {};

namespace {

using Node = IntervalMap::Node;

struct Leaf final : Node, Row<Rest, 15> {};
/// Child i holds starts from starts[i] on, and below starts[i + 1].
struct Inner final : Node, Row<Node*, 31> {
    /// Where `key` belongs.
    [[nodiscard]] std::size_t child_of(std::uint64_t key) const noexcept {
        return std::max<std::size_t>(up_to(key), 1) - 1;
    }
};
constexpr std::size_t kNodeBytes = 512;
static_assert(sizeof(Leaf) <= kNodeBytes && sizeof(Inner) <= kNodeBytes);

Leaf& leaf(Node* node) noexcept { return static_cast<Leaf&>(*node); }
const Leaf& leaf(const Node* node) noexcept { return static_cast<const Leaf&>(*node); }
Inner& inner(Node* node) noexcept { return static_cast<Inner&>(*node); }
const Inner& inner(const Node* node) noexcept { return static_cast<const Inner&>(*node); }
std::uint64_t first_start(const Node* node, unsigned height) noexcept {
    return height == 0 ? leaf(node).starts[0] : inner(node).starts[0];
}

/// One mapping of a leaf, or none.
struct Place {
    const Leaf* leaf = nullptr;
    std::size_t at = 0;
};

std::optional<Mapping> mapping_at(Place place) noexcept {
    if (place.leaf == nullptr) return std::nullopt;
    const Rest& rest = place.leaf->items[place.at];
    return Mapping{.start = Iova{place.leaf->starts[place.at]},
                   .size = rest.size,
                   .target = GuestAddr{rest.target},
                   .granted_at = rest.granted_at,
                   .rule = static_cast<std::uint32_t>(rest.rule),
                   .access = rest.may_write != 0 ? Access::ReadWrite : Access::Read};
}

/// Asks memory for all of a leaf before the search reads its first line: with a million mappings each line is
/// a read from memory, and these do not wait for each other (docs/measurements.md). Not for keeping: leaves
/// would push the inner nodes, which the next search needs, out of the caches.
void fetch(const Node* node) noexcept {
    constexpr std::size_t kLine = 64;
    // SAFETY: within the node, and a prefetch reads nothing.
    const auto* const bytes = reinterpret_cast<const std::byte*>(node);
    for (std::size_t at = 0; at < kNodeBytes; at += kLine) __builtin_prefetch(bytes + at, 0, 0);
}

Place last_up_to(const Node* node, unsigned height, std::uint64_t key) noexcept {
    if (height == 0) {
        const std::size_t upto = leaf(node).up_to(key);
        return upto == 0 ? Place{} : Place{&leaf(node), upto - 1};
    }
    const Inner& row = inner(node);
    const std::size_t at = row.child_of(key);
    if (height == 1) fetch(row.items[at]);
    const Place found = last_up_to(row.items[at], height - 1, key);
    // A child's bound may be below its first start, since that one may have been erased.
    return found.leaf != nullptr || at == 0 ? found : last_up_to(row.items[at - 1], height - 1, key);
}

Place first_from(const Node* node, unsigned height, std::uint64_t key) noexcept {
    if (height == 0) {
        const std::size_t below = key == 0 ? 0 : leaf(node).up_to(key - 1);
        return below == leaf(node).count ? Place{} : Place{&leaf(node), below};
    }
    const Inner& row = inner(node);
    const std::size_t at = row.child_of(key);
    const Place found = first_from(row.items[at], height - 1, key);
    return found.leaf != nullptr || at + 1 == row.count ? found
                                                        : first_from(row.items[at + 1], height - 1, key);
}

/// Makes one of two neighbours, or shares evenly. True: `right` is empty now.
template <typename R>
bool join_or_share(R& left, R& right) noexcept {
    const std::size_t both = left.count + right.count;
    if (both <= R::kCapacity) {
        left.take_from_right(right, right.count);
        return true;
    }
    const std::size_t wanted = both / 2;
    if (left.count < wanted) left.take_from_right(right, wanted - left.count);
    else left.give_to_right(right, left.count - wanted);
    return false;
}

/// Inserts into a row; a full one is split first, and its upper half comes back.
template <typename R, typename Item>
Node* insert_or_split(NodePool& pool, R& row, std::size_t at, std::uint64_t start, Item item) {
    if (row.count < R::kCapacity) {
        row.insert(at, start, item);
        return nullptr;
    }
    R* const right = new (pool.take()) R;
    row.give_to_right(*right, R::kCapacity / 2);
    if (at <= row.count) row.insert(at, start, item);
    else right->insert(at - row.count, start, item);
    return right;
}

/// The upper half of `node`, if it had to be split.
Node* insert_below(NodePool& pool, Node* node, unsigned height, std::uint64_t start, const Rest& rest) {
    if (height == 0) return insert_or_split(pool, leaf(node), leaf(node).up_to(start), start, rest);
    Inner& row = inner(node);
    const std::size_t at = row.child_of(start);
    row.starts[0] = std::min(row.starts[0], start);
    Node* const split = insert_below(pool, row.items[at], height - 1, start, rest);
    if (split == nullptr) return nullptr;
    return insert_or_split(pool, row, at + 1, first_start(split, height - 1), split);
}

/// Two neighbours below `parent`, of which one has become too short.
void balance(NodePool& pool, Inner& parent, unsigned height, std::size_t at) noexcept {
    Node* const left = parent.items[at];
    Node* const right = parent.items[at + 1];
    const bool joined =
        height == 1 ? join_or_share(leaf(left), leaf(right)) : join_or_share(inner(left), inner(right));
    if (joined) {
        parent.erase(at + 1);
        pool.give_back(right);
    } else {
        parent.starts[at + 1] = first_start(right, height - 1);
    }
}

bool erase_below(NodePool& pool, Node* node, unsigned height, std::uint64_t start) noexcept {
    if (height == 0) {
        Leaf& row = leaf(node);
        const std::size_t upto = row.up_to(start);
        if (upto == 0 || row.starts[upto - 1] != start) return false;
        row.erase(upto - 1);
        return true;
    }
    Inner& row = inner(node);
    const std::size_t at = row.child_of(start);
    Node* const child = row.items[at];
    if (!erase_below(pool, child, height - 1, start)) return false;
    const bool is_short =
        height == 1 ? leaf(child).count < Leaf::kCapacity / 2 : inner(child).count < Inner::kCapacity / 2;
    if (is_short && row.count > 1) balance(pool, row, height, at == 0 ? 0 : at - 1);
    return true;
}

}  // namespace

IntervalMap::IntervalMap() : nodes_{kNodeBytes}, root_{new(nodes_.take()) Leaf} {}

std::optional<Mapping> IntervalMap::find(Iova address) const noexcept {
    const auto found = mapping_at(last_up_to(root_, height_, address.value()));
    return found && found->last() >= address ? found : std::nullopt;
}

std::optional<Mapping> IntervalMap::starting_from(Iova address) const noexcept {
    return mapping_at(first_from(root_, height_, address.value()));
}

std::optional<Mapping> IntervalMap::first_in(IovaRange range) const noexcept {
    if (const auto at_first = find(range.first)) return at_first;
    const auto behind = starting_from(range.first);
    return behind && behind->start <= range.last ? behind : std::nullopt;
}

bool IntervalMap::overlaps(IovaRange range) const noexcept {
    const auto below = mapping_at(last_up_to(root_, height_, range.last.value()));
    return below && below->last() >= range.first;
}

void IntervalMap::insert(const Mapping& mapping) {
    const Rest rest{.size = mapping.size,
                    .target = mapping.target.value(),
                    .granted_at = mapping.granted_at & ((1ULL << 43) - 1),
                    .rule = mapping.rule & ((1U << 20) - 1),
                    .may_write = mapping.access == Access::ReadWrite};
    ++size_;
    Node* const split = insert_below(nodes_, root_, height_, mapping.start.value(), rest);
    if (split == nullptr) return;
    auto* const taller = new (nodes_.take()) Inner;
    taller->insert(0, first_start(root_, height_), root_);
    taller->insert(1, first_start(split, height_), split);
    root_ = taller;
    ++height_;
}

bool IntervalMap::erase(Iova start) noexcept {
    if (!erase_below(nodes_, root_, height_, start.value())) return false;
    --size_;
    if (height_ != 0 && inner(root_).count == 1) {
        Node* const only = inner(root_).items[0];
        nodes_.give_back(root_);
        root_ = only;
        --height_;
    }
    return true;
}

}  // namespace holdfast::iommu
