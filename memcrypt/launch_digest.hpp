// SPDX-License-Identifier: Apache-2.0
// The launch digest: one hash over every page that a guest is launched with, in the format of SEV-SNP
// (SEV-SNP Firmware ABI 1.55 §8.17.2, "PAGE_INFO"), whatever protects the memory.
#pragma once

#include <cstdint>
#include <span>

#include "memcrypt/address.hpp"
#include "sys/sha2.hpp"

namespace holdfast::memcrypt {

/// PAGE_TYPE of the same specification. Only the contents of Normal and Vmsa pages are measured.
enum class PageType : std::uint8_t { Normal = 1, Vmsa = 2, Zero = 3, Unmeasured = 4, Secrets = 5, Cpuid = 6 };

/// Where the firmware records the state page of every vCPU.
inline constexpr GuestAddr kVmsaAddress{0xfffffffff000};

/// Order matters: each page is chained to all before it.
class LaunchDigest {
public:
    LaunchDigest() noexcept = default;
    /// Goes on from a digest that is known already.
    explicit LaunchDigest(const Digest384& from) noexcept : value_{from} {}

    /// A page whose contents count.
    void add(PageType type, GuestAddr at, std::span<const std::byte, kPageSize> page) noexcept {
        add_hashed(type, at, sha384(page));
    }
    /// The same, for whoever has hashed the contents already.
    void add_hashed(PageType type, GuestAddr at, const Digest384& contents) noexcept;
    /// A page whose place and type count, and not its contents.
    void add_unmeasured(PageType type, GuestAddr at) noexcept { add_hashed(type, at, {}); }

    [[nodiscard]] const Digest384& value() const noexcept { return value_; }

private:
    Digest384 value_{};
};

}  // namespace holdfast::memcrypt
