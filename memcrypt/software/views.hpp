// SPDX-License-Identifier: Apache-2.0
// Guest RAM, mapped twice: the guest's view, where every page that is not mapped now can be waited for, and
// the pager's own, where every page's frame can be reached at any time. Pages are numbered from the start of
// the RAM's memfd. No decisions are made here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "memcrypt/cipher/page_cipher.hpp"
#include "memcrypt/software/userfault.hpp"
#include "sys/mapping.hpp"

namespace holdfast::memcrypt::software {

[[nodiscard]] bool is_zero(ConstPageBytes page) noexcept;

/// Any thread.
class Views {
public:
    static constexpr unsigned kMostReaders = 4;
    /// How no plaintext gets into swap: the pager's view is locked page by page as it is used, which needs
    /// RLIMIT_MEMLOCK for all of it; or the file is of a kind that is never swapped.
    enum class Swap : bool { Lock, Never };
    /// Takes the whole of `ram`, a memfd of `bytes`. `device` is an open /dev/userfaultfd. `readers`: how
    /// many threads are to hear of faults, at most kMostReaders; a small RAM takes fewer.
    static Result<Views> create(const UniqueFd& ram, std::uint64_t bytes, const UniqueFd& device,
                                UniqueFd self, unsigned readers, Swap swap = Swap::Lock);

    [[nodiscard]] std::uint32_t pages() const noexcept {
        return static_cast<std::uint32_t>(guest_.size() / kPageSize);
    }
    /// What the vCPUs and the devices see. Touching it waits for the pager; the pager never does.
    [[nodiscard]] std::span<std::byte> guest() const noexcept { return guest_.bytes(); }
    /// The page's frame, in whatever state it is.
    [[nodiscard]] PageBytes frame(std::uint32_t page) const noexcept {
        return PageBytes{frames_.data() + page * kPageSize, kPageSize};
    }
    /// Gives pages that have none yet frames of zeros. ENOMEM is an error, not a signal.
    Result<void> populate(std::uint32_t first, std::uint32_t count) const;

    /// Maps pages with frames in the guest's view and releases who waits for them.
    Result<void> map(std::uint32_t first, std::uint32_t count) const;
    /// Unmaps pages in the guest's view. `sorted` ascends. On return no CPU reaches any of them.
    Result<void> unmap(std::span<const std::uint32_t> sorted) const;
    /// Unmaps everything, mapped or not.
    Result<void> unmap_all() const;
    /// Lets who waits for the page try again.
    Result<void> wake(std::uint32_t page) const;

    /// Stripes of RAM with a userfaultfd each, so that several threads can hear of faults.
    [[nodiscard]] std::span<const Userfault> stripes() const noexcept { return stripes_; }
    [[nodiscard]] std::uint32_t page_at(std::uintptr_t guest_address) const noexcept;

private:
    Views(Mapping guest, Mapping frames, std::vector<Userfault> stripes, UniqueFd self) noexcept
        : guest_{std::move(guest)},
          frames_{std::move(frames)},
          stripes_{std::move(stripes)},
          self_{std::move(self)} {}
    [[nodiscard]] std::span<std::byte> range(std::uint32_t first, std::uint32_t count) const noexcept {
        return guest_.bytes().subspan(first * kPageSize, count * kPageSize);
    }
    [[nodiscard]] std::uint32_t rest_of_stripe(std::uint32_t page) const noexcept;

    Mapping guest_;
    Mapping frames_;
    std::vector<Userfault> stripes_;
    UniqueFd self_;  ///< our own pidfd, where process_madvise unmaps
};

}  // namespace holdfast::memcrypt::software
