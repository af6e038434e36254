// SPDX-License-Identifier: Apache-2.0
#include "vmm/vfio/pages.hpp"

namespace holdfast::vfio {

Pages::Pages(const memcrypt::GuestMemory& memory, std::function<void(const Error&)> failed)
    : memory_{memory},
      failed_{std::move(failed)},
      counts_(memory.tier() == memcrypt::Tier::None ? 0 : memory.total_bytes() / kPageSize) {}

std::optional<std::span<std::byte>> Pages::locate(GuestAddr start, std::uint64_t size) const noexcept {
    // Only RAM: another device's BAR is no memory here, so no device reaches another.
    for (const memcrypt::Region& region : memory_.regions()) {
        if (start < region.start) break;
        const std::uint64_t offset = start.value() - region.start.value();
        if (offset >= region.host.size() || size > region.host.size() - offset) continue;
        return region.host.subspan(offset, size);
    }
    return std::nullopt;
}

std::span<std::uint32_t> Pages::counts_of(GuestAddr start, std::uint64_t size) noexcept {
    std::uint64_t before = 0;
    for (const memcrypt::Region& region : memory_.regions()) {
        const std::uint64_t offset = start.value() - region.start.value();
        if (start >= region.start && offset < region.host.size()) {
            return std::span{counts_}.subspan((before + offset) / kPageSize, size / kPageSize);
        }
        before += region.host.size();
    }
    bug("pages that were not located");
}

/// Calls `change(start, size)` for each run of pages whose count is `wanted`.
template <typename Change>
Result<void> Pages::for_each_run(GuestAddr start, std::span<const std::uint32_t> counts, std::uint32_t wanted,
                                 Change change) {
    for (std::size_t page = 0; page < counts.size();) {
        std::size_t end = page;
        while (end < counts.size() && counts[end] == wanted) ++end;
        if (end != page) {
            HF_TRY(change(GuestAddr{start.value() + page * kPageSize}, (end - page) * kPageSize));
        }
        page = end + 1;
    }
    return {};
}

Result<void> Pages::expose(GuestAddr start, std::uint64_t size) {
    if (counts_.empty()) return {};
    const auto counts = counts_of(start, size);
    const auto exempted = for_each_run(start, counts, 0, [this](GuestAddr first, std::uint64_t bytes) {
        return memory_.exempt(first, bytes);
    });
    if (!exempted) {
        failed_(exempted.error());
        return exempted;
    }
    for (std::uint32_t& count : counts) ++count;
    return {};
}

void Pages::conceal(GuestAddr start, std::uint64_t size) noexcept {
    if (counts_.empty()) return;
    const auto counts = counts_of(start, size);
    for (std::uint32_t& count : counts) --count;
    const auto sealed = for_each_run(start, counts, 0, [this](GuestAddr first, std::uint64_t bytes) {
        return memory_.protect(first, bytes);
    });
    if (!sealed) failed_(sealed.error());
}

}  // namespace holdfast::vfio
