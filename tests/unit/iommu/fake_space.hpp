// SPDX-License-Identifier: Apache-2.0
// The host's IOMMU as VFIO type1 v2 behaves (measured: research of 2026-11-23), and guest memory that counts
// who exposes it. Both can be told to fail.
#pragma once

#include <map>
#include <vector>

#include "iommu/space.hpp"

namespace holdfast::iommu {

class FakeSpace final : public Space {
public:
    struct Entry {
        std::byte* host = nullptr;
        std::uint64_t size = 0;
        Access access = Access::Read;
        friend bool operator==(const Entry&, const Entry&) = default;
    };

    [[nodiscard]] std::span<const IovaRange> usable() const noexcept override { return usable_; }
    Result<void> map(Iova start, std::span<std::byte> host, Access access) override {
        if (fail_map_in_ != 0 && --fail_map_in_ == 0) return Error{Fault::Os, ENOMEM, "told to fail"};
        const std::uint64_t last = start.value() + host.size() - 1;
        const auto next = entries_.upper_bound(last);
        if (next != entries_.begin() &&
            std::prev(next)->first + std::prev(next)->second.size > start.value()) {
            return Error{Fault::Os, EEXIST, "overlap"};
        }
        entries_[start.value()] = {host.data(), host.size(), access};
        return {};
    }
    Result<std::uint64_t> unmap(IovaRange range) override {
        if (fail_unmap_in_ != 0 && --fail_unmap_in_ == 0) return Error{Fault::Os, EIO, "told to fail"};
        auto at = entries_.upper_bound(range.first.value());
        if (at != entries_.begin() && std::prev(at)->first < range.first.value() &&
            std::prev(at)->first + std::prev(at)->second.size > range.first.value()) {
            return Error{Fault::Os, EINVAL, "would split"};
        }
        at = entries_.lower_bound(range.first.value());
        std::uint64_t bytes = 0;
        while (at != entries_.end() && at->first <= range.last.value()) {
            if (at->first + (at->second.size - 1) > range.last.value())
                return Error{Fault::Os, EINVAL, "would split"};
            bytes += at->second.size;
            at = entries_.erase(at);
        }
        return bytes;
    }
    Result<std::uint64_t> unmap_all() override { return unmap({Iova{0}, Iova{~0ULL}}); }

    std::map<std::uint64_t, Entry> entries_;
    std::vector<IovaRange> usable_{{Iova{0}, Iova{0xfedfffff}}, {Iova{0xfef00000}, Iova{(1ULL << 48) - 1}}};
    unsigned fail_map_in_ = 0;  ///< the N-th map from now fails
    unsigned fail_unmap_in_ = 0;
};

/// RAM from 0 on, whose bytes are addresses only.
class FakePages final : public GuestPages {
public:
    explicit FakePages(std::uint64_t size) : exposed_(size / kPageSize) {}

    [[nodiscard]] std::optional<std::span<std::byte>> locate(GuestAddr start,
                                                             std::uint64_t size) const noexcept override {
        const std::uint64_t ram = exposed_.size() * kPageSize;
        if (start.value() > ram || size > ram - start.value()) return std::nullopt;
        // SAFETY: never followed; the fake space keeps the number.
        return std::span{reinterpret_cast<std::byte*>(kHostStart + start.value()), size};
    }
    Result<void> expose(GuestAddr start, std::uint64_t size) override {
        if (fail_expose_) return Error{Fault::Os, ENOMEM, "told to fail"};
        for (std::uint64_t i = 0; i < size / kPageSize; ++i) ++exposed_[start.value() / kPageSize + i];
        return {};
    }
    void conceal(GuestAddr start, std::uint64_t size) noexcept override {
        for (std::uint64_t i = 0; i < size / kPageSize; ++i) --exposed_[start.value() / kPageSize + i];
    }

    static constexpr std::uint64_t kHostStart = 1ULL << 40;
    std::vector<int> exposed_;
    bool fail_expose_ = false;
};

}  // namespace holdfast::iommu
