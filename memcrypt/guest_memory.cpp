// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/guest_memory.hpp"

#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>

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

Result<GuestMemory> GuestMemory::create_plain(std::span<const Range> ranges) {
    std::uint64_t total = 0;
    for (const Range& range : ranges) total += range.size;
    // A memfd, not anonymous memory: one VM's RAM is one object, and the software tier maps it twice.
    const UniqueFd fd = HF_TRY(sealed_memfd("guest-ram", total));
    Mapping file = HF_TRY(Mapping::shared(fd, total));
    // The host's page merging would let one guest time another's contents.
    if (::madvise(file.data(), file.size(), MADV_UNMERGEABLE) < 0 && errno != EINVAL) {
        return os_error("madvise UNMERGEABLE");
    }
    std::vector<Region> regions;
    std::size_t offset = 0;
    for (const Range& range : ranges) {
        regions.push_back({range.start, file.bytes().subspan(offset, range.size)});
        offset += range.size;
    }
    return GuestMemory{std::move(file), std::move(regions)};
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
    const std::byte* const source = HF_TRY(resolve(from, out.size()));
    std::memcpy(out.data(), source, out.size());
    return {};
}

Result<void> GuestMemory::write(GuestAddr to, std::span<const std::byte> in) const {
    if (in.empty()) return {};
    std::byte* const target = HF_TRY(resolve(to, in.size()));
    std::memcpy(target, in.data(), in.size());
    return {};
}

Result<void> GuestMemory::fill_zero(GuestAddr to, std::uint64_t size) const {
    if (size == 0) return {};
    std::byte* const target = HF_TRY(resolve(to, size));
    std::memset(target, 0, size);
    return {};
}

Result<void> GuestMemory::load(GuestAddr to, const UniqueFd& file, std::uint64_t offset,
                               std::uint64_t size) const {
    if (size == 0) return {};
    std::byte* const target = HF_TRY(resolve(to, size));
    return pread_exact(file, {target, size}, offset);
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
