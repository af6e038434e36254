// SPDX-License-Identifier: Apache-2.0
#include "memcrypt/software/views.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

namespace holdfast::memcrypt::software {
namespace {

// Stripes lie in turns, so that neighbours in use by several vCPUs fall to several readers.
constexpr std::uint32_t kStripePages = (64U << 20) / kPageSize;
constexpr std::size_t kMaxRuns = 256;

std::size_t stripe_of(std::uint32_t page, std::size_t stripes) { return page / kStripePages % stripes; }

Result<void> advise(std::span<std::byte> range, int advice, const char* what) {
    // A kernel without page merging or huge pages has nothing that we would have to forbid.
    if (::madvise(range.data(), range.size(), advice) < 0 && errno != EINVAL) return os_error(what);
    return {};
}

/// Whether this kernel unmaps by process_madvise (Linux 6.13 for the caller itself). Tried on a page of ours.
bool can_unmap_by(const UniqueFd& self) {
    const auto page = Mapping::anonymous(kPageSize);
    if (!self || !page) return false;
    iovec vector{.iov_base = page->data(), .iov_len = page->size()};
    const long done = ::syscall(SYS_process_madvise, self.get(), &vector, 1UL, MADV_DONTNEED, 0U);
    return done == static_cast<long>(kPageSize);
}

}  // namespace

bool is_zero(ConstPageBytes page) noexcept {
    // A page that starts with zero and equals itself moved by one is all zeros.
    return page[0] == std::byte{} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

Result<Views> Views::create(const UniqueFd& ram, std::uint64_t bytes, const UniqueFd& device, UniqueFd self,
                            unsigned readers, Swap swap) {
    Mapping guest = HF_TRY(Mapping::shared(ram, bytes));
    Mapping frames = HF_TRY(Mapping::shared(ram, bytes));
    for (const Mapping* const mapping : {&guest, &frames}) {
        // The host's page merging would let one guest time another's contents, and map what we unmapped;
        // huge pages would map neighbours with a page.
        HF_TRY(advise(mapping->bytes(), MADV_UNMERGEABLE, "madvise UNMERGEABLE"));
        HF_TRY(advise(mapping->bytes(), MADV_NOHUGEPAGE, "madvise NOHUGEPAGE"));
    }
    if (swap == Swap::Lock && ::mlock2(frames.data(), frames.size(), MLOCK_ONFAULT) < 0)
        return os_error("lock guest RAM (mlock2)");

    const auto pages = static_cast<std::uint32_t>(bytes / kPageSize);
    const unsigned count =
        std::min(std::clamp(readers, 1U, kMostReaders), (pages + kStripePages - 1) / kStripePages);
    std::vector<Userfault> stripes;
    for (unsigned i = 0; i < count; ++i) stripes.push_back(HF_TRY(Userfault::create(device)));
    if (!can_unmap_by(self)) self.reset();
    Views views{std::move(guest), std::move(frames), std::move(stripes), std::move(self)};
    for (std::uint32_t page = 0; page < pages; page += kStripePages) {
        HF_TRY(views.stripes_[stripe_of(page, count)].watch(
            views.range(page, std::min(kStripePages, pages - page))));
    }
    return views;
}

std::uint32_t Views::page_at(std::uintptr_t guest_address) const noexcept {
    // SAFETY: arithmetic on an address that the kernel reported for this mapping.
    return static_cast<std::uint32_t>((guest_address - reinterpret_cast<std::uintptr_t>(guest_.data())) /
                                      kPageSize);
}

std::uint32_t Views::rest_of_stripe(std::uint32_t page) const noexcept {
    return kStripePages - page % kStripePages;
}

Result<void> Views::populate(std::uint32_t first, std::uint32_t count) const {
    std::byte* const start = frames_.data() + first * kPageSize;
    if (::madvise(start, count * kPageSize, MADV_POPULATE_WRITE) < 0) return os_error("populate guest RAM");
    return {};
}

Result<void> Views::map(std::uint32_t first, std::uint32_t count) const {
    while (count > 0) {
        const std::uint32_t here = std::min(count, rest_of_stripe(first));
        HF_TRY(stripes_[stripe_of(first, stripes_.size())].map(range(first, here)));
        first += here;
        count -= here;
    }
    return {};
}

Result<void> Views::unmap(std::span<const std::uint32_t> sorted) const {
    while (!sorted.empty()) {
        std::array<iovec, kMaxRuns> runs;
        std::size_t count = 0;
        std::size_t length = 0;
        while (!sorted.empty() && count < kMaxRuns) {
            std::uint32_t run = 1;
            while (run < sorted.size() && sorted[run] == sorted[0] + run) ++run;
            const auto bytes = range(sorted[0], run);
            runs[count++] = {.iov_base = bytes.data(), .iov_len = bytes.size()};
            length += bytes.size();
            sorted = sorted.subspan(run);
        }
        // Frames stay in the memfd: only the guest's page tables, and those of its KVM, forget them.
        if (self_ && count > 1) {
            const long done =
                ::syscall(SYS_process_madvise, self_.get(), runs.data(), count, MADV_DONTNEED, 0U);
            if (done == static_cast<long>(length)) continue;
            if (done < 0) return os_error("process_madvise DONTNEED");
        }
        for (const iovec& each : std::span{runs}.first(count)) {
            if (::madvise(each.iov_base, each.iov_len, MADV_DONTNEED) < 0)
                return os_error("madvise DONTNEED");
        }
    }
    return {};
}

Result<void> Views::unmap_all() const {
    if (::madvise(guest_.data(), guest_.size(), MADV_DONTNEED) < 0) return os_error("madvise DONTNEED");
    return {};
}

Result<void> Views::wake(std::uint32_t page) const {
    return stripes_[stripe_of(page, stripes_.size())].wake(range(page, 1));
}

}  // namespace holdfast::memcrypt::software
