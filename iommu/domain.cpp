// SPDX-License-Identifier: Apache-2.0
#include "iommu/domain.hpp"

#include <algorithm>

namespace holdfast::iommu {
namespace {

bool host_can(const Space& space, IovaRange range) noexcept {
    return std::ranges::any_of(space.usable(), [&](IovaRange usable) { return usable.contains(range); });
}

/// Undoes one map(); false if the host did not.
bool take_back(Space& space, const Mapping& mapping) {
    const auto unmapped = space.unmap({mapping.start, mapping.last()});
    return unmapped && *unmapped == mapping.size;
}

}  // namespace

std::string_view refusal_name(Refusal refusal) noexcept {
    switch (refusal) {
        case Refusal::Misaligned: return "misaligned";
        case Refusal::OutOfRange: return "out-of-range";
        case Refusal::Reserved: return "reserved";
        case Refusal::Overlap: return "overlap";
        case Refusal::NotMemory: return "not-memory";
        case Refusal::TooManyMappings: return "too-many-mappings";
        case Refusal::TooManyBytes: return "too-many-bytes";
        case Refusal::WouldSplit: return "would-split";
        case Refusal::HostRefused: return "host-refused";
        case Refusal::Lost: return "lost";
    }
    return "unknown";
}

Domain::~Domain() { static_cast<void>(revoke_all()); }

std::unexpected<Refusal> Domain::lose() noexcept {
    lost_ = true;
    return std::unexpected{Refusal::Lost};
}

Outcome<void> Domain::attach(Space& space) {
    if (lost_) return lose();
    for (auto next = mappings_.starting_from(Iova{0}); next;) {
        const auto host = pages_.locate(next->target, next->size);
        const IovaRange range{next->start, next->last()};
        if (!host || !host_can(space, range) || !space.map(next->start, *host, next->access)) {
            if (!space.unmap_all()) return lose();
            return std::unexpected{Refusal::HostRefused};
        }
        if (range.last == Iova{~0ULL}) break;
        next = mappings_.starting_from(Iova{range.last.value() + 1});
    }
    spaces_.push_back(&space);
    return {};
}

Outcome<void> Domain::narrow(const Limits& limits) {
    if (mappings_.size() > limits.max_mappings) return std::unexpected{Refusal::TooManyMappings};
    if (bytes_ > limits.max_bytes) return std::unexpected{Refusal::TooManyBytes};
    limits_.max_mappings = std::min(limits_.max_mappings, limits.max_mappings);
    limits_.max_bytes = std::min(limits_.max_bytes, limits.max_bytes);
    return {};
}

Outcome<void> Domain::detach(Space& space) {
    const auto at = std::ranges::find(spaces_, &space);
    if (at == spaces_.end()) return {};
    spaces_.erase(at);
    const auto unmapped = space.unmap_all();
    if (!unmapped || *unmapped != bytes_) return lose();
    return {};
}

Outcome<std::span<std::byte>> Domain::judge(const Mapping& mapping) const noexcept {
    const std::uint64_t within = limits_.granule - 1;
    if (mapping.size == 0 || (mapping.size & within) != 0 || (mapping.start.value() & within) != 0 ||
        (mapping.target.value() & within) != 0) {
        return std::unexpected{Refusal::Misaligned};
    }
    const IovaRange range{mapping.start, mapping.last()};
    if (range.last < range.first || !limits_.input.contains(range)) {
        return std::unexpected{Refusal::OutOfRange};
    }
    if (range.touches(kMsiWindow)) return std::unexpected{Refusal::Reserved};
    if (!std::ranges::all_of(spaces_, [&](const Space* space) { return host_can(*space, range); })) {
        return std::unexpected{Refusal::OutOfRange};
    }
    if (mappings_.overlaps(range)) return std::unexpected{Refusal::Overlap};
    const auto host = pages_.locate(mapping.target, mapping.size);
    if (!host) return std::unexpected{Refusal::NotMemory};
    if (mappings_.size() >= limits_.max_mappings) return std::unexpected{Refusal::TooManyMappings};
    if (mapping.size > limits_.max_bytes - bytes_) return std::unexpected{Refusal::TooManyBytes};
    return *host;
}

Outcome<void> Domain::map(const Mapping& mapping) {
    if (lost_) return lose();
    const auto host = judge(mapping);
    if (!host) return std::unexpected{host.error()};
    if (!pages_.expose(mapping.target, mapping.size)) return std::unexpected{Refusal::HostRefused};
    if (auto mapped = map_in_spaces(mapping, *host); !mapped) {
        // Pages that a device may still reach stay exposed and counted.
        if (mapped.error() != Refusal::Lost) pages_.conceal(mapping.target, mapping.size);
        return mapped;
    }
    mappings_.insert(mapping);
    bytes_ += mapping.size;
    return {};
}

Outcome<void> Domain::map_in_spaces(const Mapping& mapping, std::span<std::byte> host) {
    for (std::size_t done = 0; done < spaces_.size(); ++done) {
        if (spaces_[done]->map(mapping.start, host, mapping.access)) continue;
        bool undone = true;
        for (std::size_t i = 0; i < done; ++i) undone = take_back(*spaces_[i], mapping) && undone;
        if (!undone) return lose();
        return std::unexpected{Refusal::HostRefused};
    }
    return {};
}

Outcome<Domain::Extent> Domain::extent_of(IovaRange range) const noexcept {
    Extent extent;
    IovaRange rest = range;
    for (auto next = mappings_.first_in(rest); next; next = mappings_.first_in(rest)) {
        if (!range.contains({next->start, next->last()})) return std::unexpected{Refusal::WouldSplit};
        if (extent.count++ == 0) extent.range.first = next->start;
        extent.range.last = next->last();
        extent.bytes += next->size;
        if (next->last() == range.last) break;
        rest.first = Iova{next->last().value() + 1};
    }
    return extent;
}

Outcome<std::uint64_t> Domain::unmap(IovaRange range) {
    if (lost_) return lose();
    if (range.last < range.first) return std::unexpected{Refusal::OutOfRange};
    const auto extent = extent_of(range);
    if (!extent) return std::unexpected{extent.error()};
    if (extent->count == 0) return 0;
    // The host first, and all of it: only then may pages be used for something else.
    for (Space* const space : spaces_) {
        const auto unmapped = space->unmap(extent->range);
        if (!unmapped || *unmapped != extent->bytes) return lose();
    }
    for (std::uint64_t left = extent->count; left > 0; --left) {
        const Mapping gone = *mappings_.first_in(extent->range);
        mappings_.erase(gone.start);
        pages_.conceal(gone.target, gone.size);
    }
    bytes_ -= extent->bytes;
    return extent->count;
}

}  // namespace holdfast::iommu
