// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/page_table.hpp"

#include <sys/mman.h>

namespace holdfast::memcrypt::software {
namespace {

/// Cuts `count` objects off the front of `rest`. The memory is zeroed, which is a valid value of each type.
template <typename T>
std::span<T> carve(std::span<std::byte>& rest, std::size_t count) {
    const auto bytes = rest.first(count * sizeof(T));
    rest = rest.subspan(bytes.size());
    // SAFETY: fresh memory of a mapping, cut in descending order of alignment, used as nothing else.
    return {reinterpret_cast<T*>(bytes.data()), count};
}

}  // namespace

std::string_view state_name(PageState state) noexcept {
    switch (state) {
        case PageState::Free: return "free";
        case PageState::Zero: return "zero";
        case PageState::Sealed: return "sealed";
        case PageState::Opening: return "opening";
        case PageState::ClearMapped: return "clear";
        case PageState::ClearGrace: return "grace";
        case PageState::Evicting: return "evicting";
        case PageState::Exempt: return "exempt";
        case PageState::Poisoned: return "poisoned";
    }
    return "";
}

Result<PageTable> PageTable::create(std::uint32_t pages) {
    if (pages > kMaxPages) return input_error("guest RAM has more pages than can be numbered");
    Mapping memory = HF_TRY(Mapping::anonymous(pages * kBytesPerPage));
    // As it is used: a big guest that touches little costs little.
    if (::mlock2(memory.data(), memory.size(), MLOCK_ONFAULT) < 0)
        return os_error("lock page table (mlock2)");
    return PageTable{std::move(memory), pages};
}

PageTable::PageTable(Mapping memory, std::uint32_t pages)
    : memory_{std::move(memory)}, size_{pages}, counts_{std::make_unique<Counts>()} {
    auto rest = memory_.bytes();
    versions_ = carve<std::uint64_t>(rest, pages);
    slots_ = carve<Slot>(rest, pages);
    states_ = carve<PageState>(rest, pages);
    epochs_ = carve<std::uint8_t>(rest, pages);
    ghosts_ = carve<std::uint8_t>(rest, pages);
    (*counts_)[static_cast<std::size_t>(PageState::Free)] = pages;
}

void PageTable::set_state(std::uint32_t page, PageState state) noexcept {
    const std::atomic_ref current{states_[page]};
    // Not read-modify-write: the pager's lock is held, and only readers of the counts come without it.
    auto& from = (*counts_)[static_cast<std::size_t>(current.load(std::memory_order_relaxed))];
    from.store(from.load(std::memory_order_relaxed) - 1, std::memory_order_relaxed);
    auto& to = (*counts_)[static_cast<std::size_t>(state)];
    to.store(to.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    current.store(state, std::memory_order_release);
}

}  // namespace holdfast::memcrypt::software
