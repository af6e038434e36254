// SPDX-License-Identifier: Apache-2.0
// Guest RAM as the rest of the VMM sees it: copies in and out of checked ranges. How pages are
// protected is the backend's affair; nobody outside memcrypt holds a pointer into guest memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "memcrypt/address.hpp"
#include "memcrypt/software/statistics.hpp"
#include "sys/mapping.hpp"
#include "sys/result.hpp"

namespace holdfast::memcrypt {

namespace software {
class Pager;
struct Config;
}  // namespace software

/// What protects guest memory. Names and limits: docs/threat_model.md.
enum class Tier : std::uint8_t { None, Software, SevSnp, Tdx };
[[nodiscard]] std::string_view tier_name(Tier tier) noexcept;
/// One sentence for people: what the tier does not protect.
[[nodiscard]] std::string_view tier_limit(Tier tier) noexcept;

/// One contiguous range of guest RAM, and where the vCPUs' view of it is mapped in this process.
/// For the hypervisor's memory slots only: contents are reached through GuestMemory's copies.
struct Region {
    GuestAddr start;
    std::span<std::byte> host;
};

/// All RAM of one VM. Thread-safe: any thread may copy at any time; the guest runs meanwhile, so two
/// reads of one address may differ. "Copy once, judge the copy."
class GuestMemory {
public:
    struct Range {
        GuestAddr start;
        std::uint64_t size = 0;  ///< bytes, a multiple of kPageSize
    };
    /// RAM with no protection (tier `none`). Ranges are ascending and do not overlap.
    static Result<GuestMemory> create_plain(std::span<const Range> ranges);
    /// RAM that is ciphertext outside of a clear window (tier `software`). `device` is an open
    /// /dev/userfaultfd, `self` a pidfd of this process or none. `unswapped`: an empty file for all of it
    /// that is never swapped (sys/unswapped_file.hpp); without one all of it is locked, which RLIMIT_MEMLOCK
    /// must allow. Starts the pager's threads.
    static Result<GuestMemory> create_software(std::span<const Range> ranges, const UniqueFd& device,
                                               UniqueFd self, const UniqueFd& unswapped,
                                               const software::Config& config);
    GuestMemory(GuestMemory&&) noexcept;
    GuestMemory& operator=(GuestMemory&&) noexcept;
    ~GuestMemory();

    [[nodiscard]] Tier tier() const noexcept { return pager_ ? Tier::Software : Tier::None; }
    [[nodiscard]] std::span<const Region> regions() const noexcept { return regions_; }
    [[nodiscard]] std::uint64_t total_bytes() const noexcept;

    /// Copies out of guest RAM. A range not wholly inside one region is a guest fault and copies nothing.
    Result<void> read(GuestAddr from, std::span<std::byte> out) const;
    /// Copies into guest RAM; as read().
    Result<void> write(GuestAddr to, std::span<const std::byte> in) const;
    /// Zeroes a range; as read().
    Result<void> fill_zero(GuestAddr to, std::uint64_t size) const;
    /// Fills guest RAM from a file, without a copy in between; as read(). A file that ends too early is an
    /// Input error and may have filled a part.
    Result<void> load(GuestAddr to, const UniqueFd& file, std::uint64_t offset, std::uint64_t size) const;
    /// Whether [start, start + size) lies wholly inside one region. True says nothing about later.
    [[nodiscard]] bool contains(GuestAddr start, std::uint64_t size) const noexcept;

    /// One wire struct, copied exactly once.
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    Result<T> read_value(GuestAddr from) const {
        T value;
        HF_TRY(read(from, std::as_writable_bytes(std::span{&value, 1})));
        return value;
    }
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    Result<void> write_value(GuestAddr to, const T& value) const {
        return write(to, std::as_bytes(std::span{&value, 1}));
    }

    /// Ring indices: a 16-bit little-endian load or store that other CPUs see whole, with acquire or
    /// release order against this thread's other accesses. Unaligned: a guest fault.
    Result<std::uint16_t> load_acquire(GuestAddr from) const;
    Result<void> store_release(GuestAddr to, std::uint16_t value) const;

    /// What the tier `software` reports; none in other tiers. One call, from any thread: the VM must end
    /// then, and its process be left by _exit(), since a thread may wait for a page for ever.
    struct Loss {
        std::function<void(GuestAddr page)> tampered;
        std::function<void(const Error&)> failed;
    };
    void report_loss_to(Loss loss) const;
    /// Most bytes that are ever plaintext; none where that is no promise of the tier.
    [[nodiscard]] std::optional<std::uint64_t> clear_window_bytes() const noexcept;
    [[nodiscard]] std::optional<software::Statistics> statistics() const;
    /// Pages that a device reaches: clear, mapped and outside of the clear window until protect(). Whole
    /// pages of one region, none of which is exempt already. After an error other than a guest fault the VM
    /// must end.
    Result<void> exempt(GuestAddr start, std::uint64_t size) const;
    /// Takes exempt pages back into the encrypted set.
    Result<void> protect(GuestAddr start, std::uint64_t size) const;
    /// Seals all there is to seal. While the guest does not run.
    Result<void> seal_all() const;
    /// Wipes keys and what is clear (tier `software`). Neither guest nor devices run any more.
    void wipe() noexcept;

private:
    GuestMemory(Mapping plain, std::unique_ptr<software::Pager> pager, std::span<const Range> ranges);
    Result<std::byte*> resolve(GuestAddr start, std::uint64_t size) const;
    [[nodiscard]] std::span<std::byte> view() const noexcept;
    template <typename Copy>
    Result<void> in_pieces(std::byte* at, std::uint64_t size, Copy copy) const;

    Mapping plain_;                           ///< tier `none`
    std::unique_ptr<software::Pager> pager_;  ///< tier `software`
    std::vector<Region> regions_;
};

}  // namespace holdfast::memcrypt
