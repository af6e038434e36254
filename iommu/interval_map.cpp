// SPDX-License-Identifier: Apache-2.0
#include "iommu/interval_map.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace holdfast::iommu {
namespace {

/// A mapping without its start, which lies apart: a search reads starts only.
struct Rest {
    std::uint64_t size = 0;
    std::uint64_t target = 0;
    std::uint64_t granted_at = 0;
    std::uint32_t rule = 0;
    Access access = Access::Read;
};

}  // namespace

/// Children of one node are at the same height, and every node but the root is at least half full.
struct IntervalMap::Node {
    explicit Node(bool is_leaf) noexcept : leaf{is_leaf} {}
    Node(const Node&) = delete;
    Node& operator=(const Node&) = delete;
    virtual ~Node() = default;
    const bool leaf;
    std::uint16_t count = 0;
};

namespace {

using Node = IntervalMap::Node;

/// Up to N items in the order of their starts.
template <typename Item, std::size_t N, bool IsLeaf>
struct Row final : Node {
    static constexpr std::size_t kCapacity = N;
    std::array<std::uint64_t, N> starts;
    std::array<Item, N> items;

    Row() noexcept : Node{IsLeaf} {}

    /// How many items start at `key` or before it. Without branches: a wrong guess costs more than the rest.
    [[nodiscard]] std::size_t up_to(std::uint64_t key) const noexcept {
        std::size_t base = 0;
        std::size_t length = count;
        while (length > 1) {
            const std::size_t half = length / 2;
            base += starts[base + half - 1] <= key ? half : 0;
            length -= half;
        }
        return base + (length == 1 && starts[base] <= key ? 1 : 0);
    }
    void insert(std::size_t at, std::uint64_t start, Item item) noexcept {
        std::move_backward(starts.begin() + at, starts.begin() + count, starts.begin() + count + 1);
        std::move_backward(items.begin() + at, items.begin() + count, items.begin() + count + 1);
        starts[at] = start;
        items[at] = std::move(item);
        ++count;
    }
    void erase(std::size_t at) noexcept {
        std::move(starts.begin() + at + 1, starts.begin() + count, starts.begin() + at);
        std::move(items.begin() + at + 1, items.begin() + count, items.begin() + at);
        --count;
        items[count] = Item{};
    }
    /// The last `moved` items go to the front of `right`.
    void give_to_right(Row& right, std::size_t moved) noexcept {
        std::move_backward(right.starts.begin(), right.starts.begin() + right.count,
                           right.starts.begin() + right.count + moved);
        std::move_backward(right.items.begin(), right.items.begin() + right.count,
                           right.items.begin() + right.count + moved);
        std::move(starts.begin() + (count - moved), starts.begin() + count, right.starts.begin());
        std::move(items.begin() + (count - moved), items.begin() + count, right.items.begin());
        right.count = static_cast<std::uint16_t>(right.count + moved);
        count = static_cast<std::uint16_t>(count - moved);
    }
    /// The first `moved` items of `right` are appended here.
    void take_from_right(Row& right, std::size_t moved) noexcept {
        std::move(right.starts.begin(), right.starts.begin() + moved, starts.begin() + count);
        std::move(right.items.begin(), right.items.begin() + moved, items.begin() + count);
        std::move(right.starts.begin() + moved, right.starts.begin() + right.count, right.starts.begin());
        std::move(right.items.begin() + moved, right.items.begin() + right.count, right.items.begin());
        right.count = static_cast<std::uint16_t>(right.count - moved);
        count = static_cast<std::uint16_t>(count + moved);
    }
    /// Inserts; a full row is split first, and its upper half comes back.
    std::unique_ptr<Node> insert_or_split(std::size_t at, std::uint64_t start, Item item) {
        if (count < N) {
            insert(at, start, std::move(item));
            return nullptr;
        }
        auto right = std::make_unique<Row>();
        give_to_right(*right, N / 2);
        if (at <= count) insert(at, start, std::move(item));
        else right->insert(at - count, start, std::move(item));
        return right;
    }
};

using Leaf = Row<Rest, 32, true>;
/// Child i holds starts from starts[i] on, and below starts[i + 1].
using Inner = Row<std::unique_ptr<Node>, 64, false>;

Leaf& leaf(Node& node) noexcept { return static_cast<Leaf&>(node); }
const Leaf& leaf(const Node& node) noexcept { return static_cast<const Leaf&>(node); }
Inner& inner(Node& node) noexcept { return static_cast<Inner&>(node); }
const Inner& inner(const Node& node) noexcept { return static_cast<const Inner&>(node); }

/// Where `key` belongs.
std::size_t child_of(const Inner& node, std::uint64_t key) noexcept {
    return std::max<std::size_t>(node.up_to(key), 1) - 1;
}
std::uint64_t first_start(const Node& node) noexcept {
    return node.leaf ? leaf(node).starts[0] : inner(node).starts[0];
}
Mapping mapping_at(const Leaf& node, std::size_t at) noexcept {
    const Rest& rest = node.items[at];
    return {.start = Iova{node.starts[at]},
            .size = rest.size,
            .target = GuestAddr{rest.target},
            .granted_at = rest.granted_at,
            .rule = rest.rule,
            .access = rest.access};
}

/// Asks memory for a whole node at once: a search that waits for one line after the other waits for each of
/// them, and with a million mappings each is a read from memory (docs/measurements.md).
void fetch(const Node& node) noexcept {
    constexpr std::size_t kLine = 64;
    // SAFETY: within the node, whichever of the two it is; and a prefetch reads nothing.
    const auto* const bytes = reinterpret_cast<const std::byte*>(&node);
    for (std::size_t at = 0; at < std::min(sizeof(Leaf), sizeof(Inner)); at += kLine)
        __builtin_prefetch(bytes + at);
}

std::optional<Mapping> last_up_to(const Node& node, std::uint64_t key) noexcept {
    if (node.leaf) {
        const std::size_t upto = leaf(node).up_to(key);
        if (upto == 0) return std::nullopt;
        return mapping_at(leaf(node), upto - 1);
    }
    const Inner& row = inner(node);
    const std::size_t at = child_of(row, key);
    fetch(*row.items[at]);
    // A child's bound may be below its first start, since that one may have been erased.
    if (const auto found = last_up_to(*row.items[at], key)) return found;
    return at == 0 ? std::nullopt : last_up_to(*row.items[at - 1], key);
}

std::optional<Mapping> first_from(const Node& node, std::uint64_t key) noexcept {
    if (node.leaf) {
        const Leaf& row = leaf(node);
        const std::size_t below = key == 0 ? 0 : row.up_to(key - 1);
        if (below == row.count) return std::nullopt;
        return mapping_at(row, below);
    }
    const Inner& row = inner(node);
    const std::size_t at = child_of(row, key);
    if (const auto found = first_from(*row.items[at], key)) return found;
    return at + 1 == row.count ? std::nullopt : first_from(*row.items[at + 1], key);
}

/// The upper half of `node`, if it had to be split.
std::unique_ptr<Node> insert_below(Node& node, std::uint64_t start, const Rest& rest) {
    if (node.leaf) return leaf(node).insert_or_split(leaf(node).up_to(start), start, rest);
    Inner& row = inner(node);
    const std::size_t at = child_of(row, start);
    row.starts[0] = std::min(row.starts[0], start);
    auto split = insert_below(*row.items[at], start, rest);
    if (!split) return nullptr;
    const std::uint64_t bound = first_start(*split);
    return row.insert_or_split(at + 1, bound, std::move(split));
}

/// Makes one of two neighbours, or shares evenly. True: `right` is empty now.
template <typename R>
bool join_or_share(R& left, R& right) noexcept {
    const std::size_t both = std::size_t{left.count} + right.count;
    if (both <= R::kCapacity) {
        left.take_from_right(right, right.count);
        return true;
    }
    const std::size_t wanted = both / 2;
    if (left.count < wanted) left.take_from_right(right, wanted - left.count);
    else left.give_to_right(right, left.count - wanted);
    return false;
}

void balance(Inner& parent, std::size_t at) noexcept {
    Node& left = *parent.items[at];
    Node& right = *parent.items[at + 1];
    const bool joined =
        left.leaf ? join_or_share(leaf(left), leaf(right)) : join_or_share(inner(left), inner(right));
    if (joined) parent.erase(at + 1);
    else parent.starts[at + 1] = first_start(right);
}

bool erase_below(Node& node, std::uint64_t start) noexcept {
    if (node.leaf) {
        Leaf& row = leaf(node);
        const std::size_t upto = row.up_to(start);
        if (upto == 0 || row.starts[upto - 1] != start) return false;
        row.erase(upto - 1);
        return true;
    }
    Inner& row = inner(node);
    const std::size_t at = child_of(row, start);
    Node& child = *row.items[at];
    if (!erase_below(child, start)) return false;
    const std::size_t least = (child.leaf ? Leaf::kCapacity : Inner::kCapacity) / 2;
    if (child.count < least && row.count > 1) balance(row, at == 0 ? 0 : at - 1);
    return true;
}

std::size_t bytes_of(const Node& node) noexcept {
    if (node.leaf) return sizeof(Leaf);
    std::size_t sum = sizeof(Inner);
    for (std::size_t i = 0; i < node.count; ++i) sum += bytes_of(*inner(node).items[i]);
    return sum;
}

}  // namespace

IntervalMap::IntervalMap() : root_{std::make_unique<Leaf>()} {}
IntervalMap::~IntervalMap() = default;

std::size_t IntervalMap::memory_bytes() const noexcept { return bytes_of(*root_); }

std::optional<Mapping> IntervalMap::find(Iova address) const noexcept {
    const auto found = last_up_to(*root_, address.value());
    if (!found || found->last() < address) return std::nullopt;
    return found;
}

std::optional<Mapping> IntervalMap::starting_from(Iova address) const noexcept {
    return first_from(*root_, address.value());
}

bool IntervalMap::overlaps(IovaRange range) const noexcept {
    const auto below = last_up_to(*root_, range.last.value());
    return below && below->last() >= range.first;
}

void IntervalMap::insert(const Mapping& mapping) {
    const Rest rest{.size = mapping.size,
                    .target = mapping.target.value(),
                    .granted_at = mapping.granted_at,
                    .rule = mapping.rule,
                    .access = mapping.access};
    if (auto split = insert_below(*root_, mapping.start.value(), rest)) {
        auto taller = std::make_unique<Inner>();
        const std::uint64_t left_bound = first_start(*root_);
        const std::uint64_t right_bound = first_start(*split);
        taller->insert(0, left_bound, std::move(root_));
        taller->insert(1, right_bound, std::move(split));
        root_ = std::move(taller);
    }
    ++size_;
}

bool IntervalMap::erase(Iova start) noexcept {
    if (!erase_below(*root_, start.value())) return false;
    --size_;
    if (!root_->leaf && root_->count == 1) {
        auto only = std::move(inner(*root_).items[0]);
        root_ = std::move(only);
    }
    return true;
}

void IntervalMap::clear() {
    root_ = std::make_unique<Leaf>();
    size_ = 0;
}

}  // namespace holdfast::iommu
