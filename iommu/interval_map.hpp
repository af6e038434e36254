// SPDX-License-Identifier: Apache-2.0
// The mappings of one domain, ordered by device address: a B+ tree, so that a lookup among a million touches
// few cache lines, and every change is O(log n).
#pragma once

#include <cstddef>
#include <optional>

#include "iommu/mapping.hpp"
#include "iommu/node_pool.hpp"

namespace holdfast::iommu {

/// Mappings that do not overlap. Of a mapping's time 43 bits are kept, and 20 of its rule's number. Not
/// thread-safe.
class IntervalMap {
public:
    IntervalMap();
    IntervalMap(const IntervalMap&) = delete;
    IntervalMap& operator=(const IntervalMap&) = delete;

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Bytes of all nodes.
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return nodes_.bytes_taken(); }

    /// The mapping that `address` lies in.
    [[nodiscard]] std::optional<Mapping> find(Iova address) const noexcept;
    /// The first mapping that starts at `address` or behind it.
    [[nodiscard]] std::optional<Mapping> starting_from(Iova address) const noexcept;
    /// The first mapping of which a part lies in the range.
    [[nodiscard]] std::optional<Mapping> first_in(IovaRange range) const noexcept;
    [[nodiscard]] bool overlaps(IovaRange range) const noexcept;

    /// The mapping is not empty, does not wrap around and overlaps none: the caller has made sure.
    void insert(const Mapping& mapping);
    /// Takes out the mapping that starts exactly there, if there is one.
    bool erase(Iova start) noexcept;

    struct Node;

private:
    NodePool nodes_;
    Node* root_;
    unsigned height_ = 0;  ///< of the root; leaves have none
    std::size_t size_ = 0;
};

}  // namespace holdfast::iommu
