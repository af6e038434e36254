// SPDX-License-Identifier: Apache-2.0
// The one way into guest memory before the first instruction: it remembers which pages were loaded, so that
// nothing can be loaded without being part of the launch digest.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "memcrypt/guest_memory.hpp"
#include "memcrypt/launch_digest.hpp"
#include "sys/fd.hpp"
#include "sys/result.hpp"

namespace holdfast::boot {

/// `memory` is fresh: all zero, and not loaded by anybody else. One thread.
class Loader {
public:
    explicit Loader(const memcrypt::GuestMemory& memory) noexcept : memory_{memory} {}

    /// To look at its layout.
    [[nodiscard]] const memcrypt::GuestMemory& memory() const noexcept { return memory_; }

    // As GuestMemory's.
    Result<void> write(GuestAddr to, std::span<const std::byte> in);
    Result<void> load(GuestAddr to, const UniqueFd& file, std::uint64_t offset, std::uint64_t size);
    template <typename T>
        requires std::is_trivially_copyable_v<T>
    Result<void> write_value(GuestAddr to, const T& value) {
        return write(to, std::as_bytes(std::span{&value, 1}));
    }

    /// Chains every page that has been loaded, once, by ascending address. What is hashed is the page as the
    /// guest will find it, read back whole: the rest of a page that was loaded in part is zero. Pages that
    /// were not loaded are zero, and no part of the chain.
    Result<void> measure(memcrypt::LaunchDigest& digest) const;

private:
    struct Pages {
        std::uint64_t first;
        std::uint64_t end;
    };
    void note(GuestAddr to, std::uint64_t size);
    /// The numbers of all loaded pages, ascending, each once.
    [[nodiscard]] std::vector<std::uint64_t> pages() const;

    const memcrypt::GuestMemory& memory_;
    std::vector<Pages> loaded_;
};

}  // namespace holdfast::boot
