// SPDX-License-Identifier: Apache-2.0
// Room for tree nodes of one size, side by side in huge pages: a search in a large tree would wait for page
// tables else, as often as for nodes.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "sys/mapping.hpp"

namespace holdfast::iommu {

/// Memory goes back to the system with the pool. Without more of it the process ends. Not thread-safe.
class NodePool {
public:
    explicit NodePool(std::size_t node_bytes) noexcept : node_bytes_{node_bytes} {}

    /// Uninitialised, aligned to the largest power of two in its size.
    [[nodiscard]] void* take();
    void give_back(void* node) noexcept;
    /// What is taken and not given back.
    [[nodiscard]] std::size_t bytes_taken() const noexcept { return taken_ * node_bytes_; }

private:
    struct Free {
        Free* next;
    };
    const std::size_t node_bytes_;
    std::vector<holdfast::Mapping> chunks_;
    std::span<std::byte> fresh_;  ///< of the last chunk, never used yet
    Free* free_ = nullptr;
    std::size_t taken_ = 0;
};

}  // namespace holdfast::iommu
