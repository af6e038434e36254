// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/guest_memory.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>

#include "memcrypt/software/pager.hpp"

namespace holdfast::memcrypt {

static_assert(std::endian::native == std::endian::little, "ring indices are little-endian");

std::string_view tier_name(Tier tier) noexcept {
    switch (tier) {
        case Tier::None: return "none";
        case Tier::Software: return "software";
        case Tier::SevSnp: return "sev-snp";
        case Tier::Tdx: return "tdx";
    }
    return "";
}

std::string_view tier_limit(Tier tier) noexcept {
    switch (tier) {
        case Tier::None:
            return "guest memory is not encrypted: root on this host, a core dump or a stray read sees all "
                   "of it";
        case Tier::Software:
            return "pages in the clear window and the key are in host memory: root on the running host and a "
                   "capture of all DRAM can read the guest";
        case Tier::SevSnp: return "replay by a memory interposer is known to break it";
        case Tier::Tdx: return "replay by a memory interposer is known to break it";
    }
    return "";
}

namespace {

std::uint64_t sum(std::span<const GuestMemory::Range> ranges) {
    std::uint64_t total = 0;
    for (const GuestMemory::Range& range : ranges) total += range.size;
    return total;
}

Result<software::Views> create_views(std::uint64_t bytes, const UniqueFd& device, UniqueFd self,
                                     const UniqueFd& unswapped, unsigned readers) {
    using software::Views;
    if (!unswapped) {
        const UniqueFd file = HF_TRY(sealed_memfd("guest-ram", bytes));
        return Views::create(file, bytes, device, std::move(self), readers, Views::Swap::Lock);
    }
    if (HF_TRY(file_size(unswapped)) != bytes)
        return input_error("the file for guest RAM is not of its size");
    return Views::create(unswapped, bytes, device, std::move(self), readers, Views::Swap::Never);
}

}  // namespace

Result<GuestMemory> GuestMemory::create_plain(std::span<const Range> ranges) {
    // No memfd, which the software tier needs: nobody else maps this, and the kernel gives those small pages
    // only. Each that the guest touches first is a fault then, 30,000 of them until a Debian kernel's init.
    Mapping plain = HF_TRY(Mapping::huge(sum(ranges)));
    // The host's page merging would let one guest time another's contents.
    if (::madvise(plain.data(), plain.size(), MADV_UNMERGEABLE) < 0 && errno != EINVAL) {
        return os_error("madvise UNMERGEABLE");
    }
    return GuestMemory{std::move(plain), nullptr, ranges};
}

Result<GuestMemory> GuestMemory::create_software(std::span<const Range> ranges, const UniqueFd& device,
                                                 UniqueFd self, const UniqueFd& unswapped,
                                                 const software::Config& config) {
    const std::uint64_t total = sum(ranges);
    auto views = HF_TRY(create_views(total, device, std::move(self), unswapped, config.readers));
    std::vector<std::uint32_t> starts;
    std::uint64_t page = 0;
    for (const Range& range : ranges) {
        starts.push_back(static_cast<std::uint32_t>(page));
        page += range.size / kPageSize;
    }
    auto pager = HF_TRY(software::Pager::create(std::move(views), std::move(starts), config));
    return GuestMemory{{}, std::move(pager), ranges};
}

GuestMemory::GuestMemory(Mapping plain, std::unique_ptr<software::Pager> pager, std::span<const Range> ranges)
    : plain_{std::move(plain)}, pager_{std::move(pager)} {
    std::size_t offset = 0;
    for (const Range& range : ranges) {
        regions_.push_back({range.start, view().subspan(offset, range.size)});
        offset += range.size;
    }
}

GuestMemory::GuestMemory(GuestMemory&&) noexcept = default;
GuestMemory& GuestMemory::operator=(GuestMemory&&) noexcept = default;
GuestMemory::~GuestMemory() = default;

std::span<std::byte> GuestMemory::view() const noexcept {
    return pager_ ? pager_->guest_view() : plain_.bytes();
}

std::uint64_t GuestMemory::total_bytes() const noexcept { return view().size(); }

void GuestMemory::report_loss_to(Loss loss) const {
    if (!pager_) return;
    const auto address = [regions = regions_, start = view().data()](std::uint32_t page) {
        const std::byte* const at = start + page * kPageSize;
        for (const Region& region : regions) {
            if (at < region.host.data() + region.host.size()) {
                return GuestAddr{region.start.value() + static_cast<std::uint64_t>(at - region.host.data())};
            }
        }
        return GuestAddr{};
    };
    pager_->report_to(
        {.tampered = [tell = loss.tampered, address](std::uint32_t page) { tell(address(page)); },
         .failed = loss.failed});
}

std::optional<std::uint64_t> GuestMemory::clear_window_bytes() const noexcept {
    return pager_ ? std::optional{pager_->window_bytes()} : std::nullopt;
}

std::optional<software::Statistics> GuestMemory::statistics() const {
    return pager_ ? std::optional{pager_->statistics()} : std::nullopt;
}

Result<void> GuestMemory::seal_all() const { return pager_ ? pager_->seal_all() : Result<void>{}; }

Result<void> GuestMemory::exempt(GuestAddr start, std::uint64_t size) const {
    const std::byte* const at = HF_TRY(resolve(start, size));
    if (!pager_) return {};
    const auto page = static_cast<std::uint64_t>(at - view().data()) / kPageSize;
    return pager_->exempt(static_cast<std::uint32_t>(page), static_cast<std::uint32_t>(size / kPageSize));
}

Result<void> GuestMemory::protect(GuestAddr start, std::uint64_t size) const {
    const std::byte* const at = HF_TRY(resolve(start, size));
    if (!pager_) return {};
    const auto page = static_cast<std::uint64_t>(at - view().data()) / kPageSize;
    return pager_->protect(static_cast<std::uint32_t>(page), static_cast<std::uint32_t>(size / kPageSize));
}

void GuestMemory::wipe() noexcept {
    if (pager_) pager_->wipe();
}

/// Calls `copy(offset, length)` for pieces whose pages have just been made ready.
template <typename Copy>
Result<void> GuestMemory::in_pieces(std::byte* at, std::uint64_t size, Copy copy) const {
    if (!pager_) return copy(0, size);
    const auto start = static_cast<std::uint64_t>(at - view().data());
    for (std::uint64_t done = 0; done < size;) {
        const std::uint64_t first = (start + done) / kPageSize;
        const std::uint64_t length =
            std::min(size - done, (first + software::Pager::kMostReady) * kPageSize - start - done);
        const std::uint64_t last = (start + done + length - 1) / kPageSize;
        HF_TRY(pager_->make_ready(static_cast<std::uint32_t>(first),
                                  static_cast<std::uint32_t>(last - first + 1)));
        HF_TRY(copy(done, length));
        done += length;
    }
    return {};
}

Result<std::byte*> GuestMemory::resolve(GuestAddr start, std::uint64_t size) const {
    for (const Region& region : regions_) {
        if (start < region.start) break;
        const std::uint64_t offset = start.value() - region.start.value();
        if (offset >= region.host.size()) continue;
        if (size > region.host.size() - offset) break;
        return region.host.data() + offset;
    }
    return guest_fault("address outside guest RAM");
}

bool GuestMemory::contains(GuestAddr start, std::uint64_t size) const noexcept {
    return resolve(start, size).has_value();
}

Result<void> GuestMemory::read(GuestAddr from, std::span<std::byte> out) const {
    if (out.empty()) return {};
    std::byte* const source = HF_TRY(resolve(from, out.size()));
    return in_pieces(source, out.size(), [&](std::uint64_t offset, std::uint64_t length) -> Result<void> {
        std::memcpy(out.data() + offset, source + offset, length);
        return {};
    });
}

Result<void> GuestMemory::write(GuestAddr to, std::span<const std::byte> in) const {
    if (in.empty()) return {};
    std::byte* const target = HF_TRY(resolve(to, in.size()));
    return in_pieces(target, in.size(), [&](std::uint64_t offset, std::uint64_t length) -> Result<void> {
        std::memcpy(target + offset, in.data() + offset, length);
        return {};
    });
}

Result<void> GuestMemory::fill_zero(GuestAddr to, std::uint64_t size) const {
    if (size == 0) return {};
    std::byte* const target = HF_TRY(resolve(to, size));
    return in_pieces(target, size, [&](std::uint64_t offset, std::uint64_t length) -> Result<void> {
        std::memset(target + offset, 0, length);
        return {};
    });
}

Result<void> GuestMemory::load(GuestAddr to, const UniqueFd& file, std::uint64_t offset,
                               std::uint64_t size) const {
    if (size == 0) return {};
    std::byte* const target = HF_TRY(resolve(to, size));
    return in_pieces(target, size, [&](std::uint64_t done, std::uint64_t length) {
        return pread_exact(file, {target + done, length}, offset + done);
    });
}

Result<std::uint16_t> GuestMemory::load_acquire(GuestAddr from) const {
    if (from.value() % sizeof(std::uint16_t) != 0) return guest_fault("ring index not aligned");
    std::byte* const at = HF_TRY(resolve(from, sizeof(std::uint16_t)));
    // SAFETY: aligned (regions start on pages), inside the mapping, and only ever accessed atomically
    // by us; acquire orders it before the ring entries it makes valid (Virtio 1.2 §2.7.13.3).
    return std::atomic_ref{*reinterpret_cast<std::uint16_t*>(at)}.load(std::memory_order_acquire);
}

Result<void> GuestMemory::store_release(GuestAddr to, std::uint16_t value) const {
    if (to.value() % sizeof(std::uint16_t) != 0) return guest_fault("ring index not aligned");
    std::byte* const at = HF_TRY(resolve(to, sizeof(std::uint16_t)));
    // SAFETY: as above; release makes the ring entries visible before the index (§2.7.8.2).
    std::atomic_ref{*reinterpret_cast<std::uint16_t*>(at)}.store(value, std::memory_order_release);
    return {};
}

}  // namespace holdfast::memcrypt
